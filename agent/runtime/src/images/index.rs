//! Which names stand for which images, and what each image is made of. Pure: `store` reads and writes it.

use super::digest::Digest;
use super::name::{ImageName, Sought};
use crate::Image;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Of the form on disk. A newer one is refused rather than misread.
pub const VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Index {
    pub version: u32,
    /// `registry/repository:tag` → image.
    pub names: BTreeMap<String, Digest>,
    /// By the digest of the configuration.
    pub images: BTreeMap<Digest, Record>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Record {
    /// Chain ids, lowest first.
    pub chain: Vec<Digest>,
    /// `registry/repository@digest` of manifests it was pulled by.
    pub digests: BTreeSet<String>,
    pub bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

impl Default for Index {
    fn default() -> Self {
        Index { version: VERSION, names: BTreeMap::new(), images: BTreeMap::new() }
    }
}

impl Index {
    pub fn find(&self, sought: &Sought) -> Option<&Digest> {
        let id = match sought {
            Sought::Id(id) => self.images.get_key_value(id).map(|(id, _)| id)?,
            // With both, the digest decides and the tag is only for people.
            Sought::Name(name) => match &name.digest {
                Some(digest) => {
                    let by = format!("{}@{digest}", name.place());
                    self.images.iter().find(|(_, record)| record.digests.contains(&by)).map(|(id, _)| id)?
                }
                None => self.names.get(&name.tagged()?)?,
            },
        };
        Some(id)
    }

    /// As the trait describes images.
    pub fn image(&self, id: &Digest) -> Option<Image> {
        let record = self.images.get(id)?;
        Some(Image {
            id: id.to_string(),
            names: self.names.iter().filter(|(_, of)| *of == id).map(|(name, _)| name.clone()).collect(),
            digests: record.digests.iter().cloned().collect(),
            bytes: record.bytes,
            created_at: record.created_at,
            user: record.user.clone(),
        })
    }

    /// Adds or completes an image and lets names point to it, whatever they pointed to before.
    pub fn add(&mut self, id: &Digest, record: Record, names: &[ImageName]) {
        let digests = record.digests.clone();
        self.images.entry(id.clone()).or_insert(record).digests.extend(digests);
        for name in names.iter().filter_map(ImageName::tagged) {
            self.names.insert(name, id.clone());
        }
    }

    /// Takes a name from its image, or by id all its names. False if there was none.
    pub fn untag(&mut self, sought: &Sought) -> bool {
        let Some(id) = self.find(sought).cloned() else { return false };
        match sought {
            Sought::Id(_) => {
                self.names.retain(|_, of| *of != id);
                if let Some(record) = self.images.get_mut(&id) {
                    record.digests.clear();
                }
            }
            Sought::Name(name) => match &name.digest {
                Some(digest) => {
                    let by = format!("{}@{digest}", name.place());
                    if let Some(record) = self.images.get_mut(&id) {
                        record.digests.remove(&by);
                    }
                }
                None => {
                    self.names.remove(&name.tagged().expect("a name without a digest has a tag"));
                    self.drop_digests_of(&name.place(), &id);
                }
            },
        }
        true
    }

    /// With the last tag of a repository its digests go too, as users of other engines expect.
    fn drop_digests_of(&mut self, place: &str, id: &Digest) {
        let tag = format!("{place}:");
        if self.names.iter().any(|(name, of)| of == id && name.starts_with(&tag)) {
            return;
        }
        if let Some(record) = self.images.get_mut(id) {
            record.digests.retain(|by| !by.strip_prefix(place).is_some_and(|rest| rest.starts_with('@')));
        }
    }

    /// Forgets images that have neither name nor digest nor lease; says if there were any.
    pub fn forget_unused(&mut self, leased: &BTreeSet<Digest>) -> bool {
        let before = self.images.len();
        let named: BTreeSet<&Digest> = self.names.values().collect();
        self.images.retain(|id, record| named.contains(id) || !record.digests.is_empty() || leased.contains(id));
        self.images.len() < before
    }

    pub fn layers_in_use(&self) -> BTreeSet<&Digest> {
        self.images.values().flat_map(|record| &record.chain).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> Digest {
        Digest::of(&[n])
    }

    fn sought(name: &str) -> Sought {
        Sought::parse(name).unwrap()
    }

    fn index() -> Index {
        let mut index = Index::default();
        let names = [ImageName::parse("a:1").unwrap(), ImageName::parse("a:2").unwrap()];
        let record = Record {
            chain: vec![id(10)],
            digests: BTreeSet::from([format!("docker.io/library/a@{}", id(50))]),
            ..Record::default()
        };
        index.add(&id(1), record, &names);
        index
    }

    #[test]
    fn an_image_is_found_by_every_form_of_name() {
        let index = index();
        for name in [
            "a:1",
            "docker.io/library/a:2",
            &format!("a@{}", id(50)),
            &format!("a:9@{}", id(50)),
            id(1).as_str(),
            id(1).hex(),
        ] {
            assert_eq!(index.find(&sought(name)), Some(&id(1)), "{name}");
        }
        for name in ["a", "b:1", &format!("b@{}", id(50)), id(2).as_str()] {
            assert_eq!(index.find(&sought(name)), None, "{name}");
        }
    }

    #[test]
    fn an_image_goes_with_its_last_name_unless_it_is_leased() {
        let mut index = index();
        assert!(index.untag(&sought("a:1")));
        assert!(!index.untag(&sought("a:1")));
        assert!(!index.forget_unused(&BTreeSet::new()));
        assert!(index.untag(&sought("a:2")));
        assert!(!index.forget_unused(&BTreeSet::from([id(1)])));
        assert_eq!(index.layers_in_use(), BTreeSet::from([&id(10)]));
        assert!(index.forget_unused(&BTreeSet::new()));
        assert!(index.layers_in_use().is_empty());
    }

    #[test]
    fn a_name_moves_to_the_newer_image() {
        let mut index = index();
        index.add(&id(2), Record::default(), &[ImageName::parse("a:1").unwrap()]);
        assert_eq!(index.find(&sought("a:1")), Some(&id(2)));
        assert_eq!(index.image(&id(1)).unwrap().names, ["docker.io/library/a:2"]);
    }
}
