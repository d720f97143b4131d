//! Which node has which container image, and how big it is there.

use coracle_client::facts::NodeImage;
use coracle_proto::ObjectKey;
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes, by node.
pub type Sizes = HashMap<Arc<ObjectKey>, i64>;

#[derive(Default)]
pub struct Images {
    by_name: HashMap<Box<str>, Sizes>,
}

impl Images {
    /// The nodes that have the image a container names.
    pub fn find(&self, image: &str) -> Option<&Sizes> {
        if is_tagged(image) { self.by_name.get(image) } else { self.by_name.get(format!("{image}:latest").as_str()) }
    }

    /// A node's list of images changed from `old` to `new`.
    pub fn replace(&mut self, node: &Arc<ObjectKey>, old: &[NodeImage], new: &[NodeImage]) {
        if old == new {
            return;
        }
        for name in old.iter().flat_map(|image| &image.names) {
            if let Some(sizes) = self.by_name.get_mut(name) {
                sizes.remove(node);
                if sizes.is_empty() {
                    self.by_name.remove(name);
                }
            }
        }
        for image in new {
            for name in &image.names {
                self.by_name.entry(name.clone()).or_default().insert(node.clone(), image.size_bytes);
            }
        }
    }
}

/// A colon after the last slash: a tag, or part of a digest. One before it belongs to the registry's port.
fn is_tagged(image: &str) -> bool {
    image.rfind(':').is_some_and(|colon| image.rfind('/').is_none_or(|slash| colon > slash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untagged_names_mean_latest() {
        let table = [
            ("web", false),
            ("web:1", true),
            ("host:5000/web", false),
            ("host:5000/web:1", true),
            ("host/web@sha256:00", true),
        ];
        for (image, tagged) in table {
            assert_eq!(is_tagged(image), tagged, "{image}");
        }
    }

    #[test]
    fn nodes_come_and_go() {
        let node = Arc::new(ObjectKey::cluster("n"));
        let image = |name: &str, size_bytes| NodeImage { names: [name.into()].into(), size_bytes };
        let mut images = Images::default();
        images.replace(&node, &[], &[image("a:latest", 1), image("b:1", 2)]);
        assert_eq!(images.find("a").and_then(|sizes| sizes.get(&node)), Some(&1));
        images.replace(&node, &[image("a:latest", 1), image("b:1", 2)], &[image("b:1", 3)]);
        assert!(images.find("a").is_none());
        assert_eq!(images.find("b:1").and_then(|sizes| sizes.get(&node)), Some(&3));
        images.replace(&node, &[image("b:1", 3)], &[]);
        assert!(images.by_name.is_empty());
    }
}
