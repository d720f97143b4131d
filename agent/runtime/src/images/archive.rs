//! Finds images in what people hand over: `docker save` archives, OCI archives, OCI layout folders.
//! Nothing is unpacked here; members are read in place.

use super::digest::{Digest, read_bounded};
use super::fault::Fault;
use super::limits;
use super::name::ImageName;
use super::tar::{Kind, Members, Seeking};
use oci_spec::image::{Arch, Descriptor, ImageIndex, ImageManifest, MediaType, Os};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Where documents and layers are read from, by name.
pub enum Source {
    Archive { file: Arc<File>, members: HashMap<String, Entry> },
    Folder(File),
}

#[derive(Clone, Debug)]
pub enum Entry {
    File { offset: u64, bytes: u64 },
    Link(String),
}

/// An image found in a source, not yet read.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub names: Vec<ImageName>,
    /// Of the manifest, where there is one.
    pub manifest: Option<Digest>,
    pub config: Part,
    /// Lowest first.
    pub layers: Vec<Part>,
}

/// One blob of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub name: String,
    /// Where the source says what it must be.
    pub digest: Option<Digest>,
}

impl Source {
    pub fn folder(path: &Path) -> Result<Self, Fault> {
        let doing = || format!("opening {}", path.display());
        File::open(path).map(Source::Folder).map_err(Fault::host(doing()))
    }

    /// An archive that is not compressed.
    pub fn archive(file: File) -> Result<Self, Fault> {
        let clone = file.try_clone().map_err(Fault::host("duplicating a descriptor"))?;
        let reader = io::BufReader::new(clone);
        let mut archive = Members::new(Seeking::new(reader).map_err(|e| Fault::read("reading the archive", e))?);
        let mut members = HashMap::new();
        while let Some(member) = archive.next()? {
            let Ok(name) = String::from_utf8(member.path) else { continue };
            let name = name.trim_start_matches("./").to_owned();
            let entry = match member.kind {
                Kind::File => Entry::File { offset: member.offset, bytes: member.stored },
                Kind::Symlink { target } => Entry::Link(link_target(&name, &target)),
                Kind::HardLink { target } => Entry::Link(String::from_utf8_lossy(&target).into_owned()),
                _ => continue,
            };
            if members.len() >= limits::ARCHIVE_ENTRIES {
                return Err(Fault::bad(format!("more than {} members", limits::ARCHIVE_ENTRIES)));
            }
            members.insert(name, entry);
        }
        Ok(Source::Archive { file: Arc::new(file), members })
    }

    /// `None` if it is not there.
    pub fn open(&self, name: &str) -> Result<Option<Box<dyn Read + Send>>, Fault> {
        match self {
            Source::Archive { file, members } => {
                let mut name = name;
                for _ in 0..=limits::NESTING {
                    match members.get(name) {
                        None => return Ok(None),
                        Some(Entry::Link(target)) => name = target,
                        Some(Entry::File { offset, bytes }) => {
                            let slice = Slice { file: file.clone(), at: *offset, left: *bytes };
                            return Ok(Some(Box::new(slice)));
                        }
                    }
                }
                Err(Fault::bad(format!("{name:?} is a link to a link to a link")))
            }
            Source::Folder(folder) => open_in(folder, name),
        }
    }

    fn document(&self, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        match self.open(name)? {
            Some(reader) => read_bounded(reader, limits::DOCUMENT_BYTES, name).map(Some),
            None => Ok(None),
        }
    }

    /// A part that must be there and be what its digest says.
    pub fn part(&self, part: &Part) -> Result<Vec<u8>, Fault> {
        let bytes = self.document(&part.name)?.ok_or_else(|| Fault::bad(format!("{:?} is missing", part.name)))?;
        match &part.digest {
            Some(digest) if Digest::of(&bytes) != *digest => {
                Err(Fault::bad(format!("{:?} is damaged: its digest is not {digest}", part.name)))
            }
            _ => Ok(bytes),
        }
    }

    /// Every image of this platform. Newer `docker save` archives are both forms at once; their OCI side has digests.
    pub fn images(&self) -> Result<Vec<Found>, Fault> {
        let docker = match self.document("manifest.json")? {
            Some(json) => docker_images(&json)?,
            None => Vec::new(),
        };
        let mut found = match self.document("index.json")? {
            Some(json) => self.layout_images(&json)?,
            None => Vec::new(),
        };
        for image in docker {
            match found
                .iter_mut()
                .find(|other| other.config.digest.is_some() && other.config.digest == image.config.digest)
            {
                Some(other) => other.names.extend(image.names),
                None => found.push(image),
            }
        }
        match found.len() {
            0 => Err(Fault::bad("it holds no image for this platform, neither manifest.json nor index.json names one")),
            n if n > limits::ARCHIVE_IMAGES => Err(Fault::bad(format!("it holds {n} images"))),
            _ => Ok(found),
        }
    }

    fn layout_images(&self, json: &[u8]) -> Result<Vec<Found>, Fault> {
        let index = ImageIndex::from_reader(json).map_err(|e| Fault::bad(format!("index.json: {e}")))?;
        let mut found = Vec::new();
        for descriptor in index.manifests() {
            let names = annotated_names(descriptor);
            if let Some(image) = self.descend(descriptor, 0)? {
                found.push(Found { names, ..image });
            }
        }
        Ok(found)
    }

    /// Through nested indexes to the manifest for this platform.
    fn descend(&self, descriptor: &Descriptor, depth: usize) -> Result<Option<Found>, Fault> {
        if depth > limits::NESTING {
            return Err(Fault::bad("indexes inside indexes inside indexes"));
        }
        if !for_this_platform(descriptor) {
            return Ok(None);
        }
        let part = part_of(descriptor)?;
        match descriptor.media_type() {
            MediaType::ImageIndex => {}
            MediaType::Other(other) if other == DOCKER_LIST => {}
            MediaType::ImageManifest => return self.manifest(&part).map(Some),
            MediaType::Other(other) if other == DOCKER_MANIFEST => return self.manifest(&part).map(Some),
            _ => return Ok(None),
        }
        let json = self.part(&part)?;
        let index = ImageIndex::from_reader(&json[..]).map_err(|e| Fault::bad(format!("{}: {e}", part.name)))?;
        for inner in index.manifests().iter().take(limits::INDEX_MANIFESTS) {
            // An attestation beside the image, or another platform's image that was not saved.
            let here =
                inner.annotations().as_ref().is_none_or(|notes| !notes.contains_key("vnd.docker.reference.type"));
            if here
                && self.open(&part_of(inner)?.name)?.is_some()
                && let Some(found) = self.descend(inner, depth + 1)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn manifest(&self, part: &Part) -> Result<Found, Fault> {
        let json = self.part(part)?;
        let manifest = ImageManifest::from_reader(&json[..]).map_err(|e| Fault::bad(format!("{}: {e}", part.name)))?;
        Ok(Found {
            names: Vec::new(),
            manifest: part.digest.clone(),
            config: part_of(manifest.config())?,
            layers: manifest.layers().iter().map(part_of).collect::<Result<_, _>>()?,
        })
    }
}

pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Those without a platform are for all.
pub fn for_this_platform(descriptor: &Descriptor) -> bool {
    descriptor
        .platform()
        .as_ref()
        .is_none_or(|platform| *platform.os() == Os::default() && *platform.architecture() == Arch::default())
}

pub fn part_of(descriptor: &Descriptor) -> Result<Part, Fault> {
    let digest = Digest::parse(descriptor.digest().as_ref())?;
    Ok(Part { name: format!("blobs/sha256/{}", digest.hex()), digest: Some(digest) })
}

fn annotated_names(descriptor: &Descriptor) -> Vec<ImageName> {
    let note = |key: &str| descriptor.annotations().as_ref().and_then(|notes| notes.get(key)).cloned();
    // containerd and Docker write the full name; the OCI key alone is often only a tag.
    let full = note("io.containerd.image.name")
        .or_else(|| note("org.opencontainers.image.ref.name").filter(|name| name.contains(['/', ':'])));
    full.and_then(|name| ImageName::parse(&name).ok()).into_iter().collect()
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

fn docker_images(json: &[u8]) -> Result<Vec<Found>, Fault> {
    let images: Vec<DockerImage> =
        serde_json::from_slice(json).map_err(|e| Fault::bad(format!("manifest.json: {e}")))?;
    images
        .into_iter()
        .map(|image| {
            let names = image.repo_tags.unwrap_or_default();
            let names =
                names.iter().map(|name| ImageName::parse(name).map_err(Fault::bad)).collect::<Result<_, _>>()?;
            // `<hex>.json` in older archives, `blobs/sha256/<hex>` in newer ones.
            let stem = image.config.rsplit('/').next().unwrap_or_default();
            let digest = Digest::from_hex(stem.strip_suffix(".json").unwrap_or(stem));
            let part =
                |name: String| Part { digest: name.strip_prefix("blobs/sha256/").and_then(Digest::from_hex), name };
            Ok(Found {
                names,
                manifest: None,
                config: Part { digest, name: image.config },
                layers: image.layers.into_iter().map(part).collect(),
            })
        })
        .collect()
}

/// Old archives hold a layer once and link to it: `<a>/layer.tar` → `../<b>/layer.tar`. Resolved by name only.
fn link_target(name: &str, target: &[u8]) -> String {
    let target = String::from_utf8_lossy(target);
    let mut path: Vec<&str> = name.split('/').collect();
    path.pop();
    for component in target.split('/') {
        match component {
            "" | "." => {}
            ".." => drop(path.pop()),
            name => path.push(name),
        }
    }
    path.join("/")
}

/// In a layout folder, never outside it.
fn open_in(folder: &File, name: &str) -> Result<Option<Box<dyn Read + Send>>, Fault> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::fs::openat2(folder, name, flags, Mode::empty(), resolve) {
        Ok(fd) => {
            let file = File::from(fd);
            let plain = file.metadata().map_err(Fault::host(format!("reading {name:?}")))?.is_file();
            match plain {
                true => Ok(Some(Box::new(file))),
                false => Err(Fault::bad(format!("{name:?} is not a plain file"))),
            }
        }
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
        Err(rustix::io::Errno::XDEV | rustix::io::Errno::LOOP) => {
            Err(Fault::bad(format!("{name:?} is a link that leaves the folder")))
        }
        Err(e) => Err(Fault::Host { doing: format!("opening {name:?}"), why: e.into() }),
    }
}

/// A part of a file, read without moving anyone's position.
struct Slice {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Read for Slice {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let n = self.file.read_at(&mut into[..most], self.at)?;
        if n == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is cut off"));
        }
        self.at += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_resolved_by_name() {
        for (name, target, path) in [
            ("a/layer.tar", "../b/layer.tar", "b/layer.tar"),
            ("a", "b", "b"),
            ("a/b", "../../../../etc/passwd", "etc/passwd"),
            ("a/b", "./c", "a/c"),
        ] {
            assert_eq!(link_target(name, target.as_bytes()), path);
        }
    }
}
