//! The store: names, configurations, layers and leases on disk. Changes are made under `lock`, everything is replaced
//! by rename, so readers need no lock and a crash at any moment leaves the state before or after.

use super::digest::Digest;
use super::fault::io_error;
use super::files::{self, Lock};
use super::index::{self, Index, Record};
use super::layers::Layers;
use super::name::{ImageName, Sought};
use super::{lease, limits};
use crate::{Image, RuntimeError};
use oci_spec::image::ImageConfiguration;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Cheap to clone; several in several processes may be open on one folder.
#[derive(Clone, Debug)]
pub struct ImageStore {
    root: PathBuf,
    layers: Layers,
}

/// While it is there, nothing is swept: layers may be in place that no image names yet.
#[derive(Clone, Debug)]
pub struct Work(#[allow(dead_code)] Arc<Lock>);

impl ImageStore {
    /// Makes the folder if it is not there, and sweeps what a crash left in it.
    pub fn open(dir: &Path) -> Result<ImageStore, RuntimeError> {
        files::ensure_folder(dir)?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(dir, private).map_err(io_error(format!("closing {} to others", dir.display())))?;
        for folder in ["blobs/sha256", "leases"] {
            files::ensure_folder(&dir.join(folder))?;
        }
        let root = dir.canonicalize().map_err(io_error(format!("opening {}", dir.display())))?;
        let store = ImageStore { layers: Layers::open(root.join("layers"), root.join("staging"))?, root };
        store.read_index()?;
        store.sweep_staging()?;
        Ok(store)
    }

    pub fn resolve(&self, name: &str) -> Result<Option<Image>, RuntimeError> {
        let sought = Sought::parse(name)?;
        let index = self.read_index()?;
        Ok(index.find(&sought).and_then(|id| index.image(id)))
    }

    pub fn list(&self) -> Result<Vec<Image>, RuntimeError> {
        let index = self.read_index()?;
        Ok(index.images.keys().filter_map(|id| index.image(id)).collect())
    }

    /// The configuration of an image by its id.
    pub fn config(&self, id: &str) -> Result<ImageConfiguration, RuntimeError> {
        let digest = parse_id(id)?;
        let Some(bytes) = files::read(&self.blob(&digest), limits::DOCUMENT_BYTES)? else {
            return Err(no_image(id));
        };
        let bad = |why: String| RuntimeError::BadImage { origin: id.to_owned(), why };
        if Digest::of(&bytes) != digest {
            return Err(bad("its configuration on disk is damaged".to_owned()));
        }
        ImageConfiguration::from_reader(&bytes[..]).map_err(|e| bad(format!("its configuration: {e}")))
    }

    /// Folders for overlayfs, topmost first.
    pub fn lower_dirs(&self, id: &str) -> Result<Vec<PathBuf>, RuntimeError> {
        let index = self.read_index()?;
        let record = index.images.get(&parse_id(id)?).ok_or_else(|| no_image(id))?;
        let mut dirs = Vec::with_capacity(record.chain.len());
        for chain in record.chain.iter().rev() {
            if !self.layers.usable(chain)? {
                let why = format!("its layer {chain} is missing on disk");
                return Err(RuntimeError::BadImage { origin: id.to_owned(), why });
            }
            dirs.push(self.layers.diff(chain));
        }
        Ok(dirs)
    }

    /// Another name for an image that is here.
    pub fn tag(&self, from: &str, to: &str) -> Result<Image, RuntimeError> {
        let sought = Sought::parse(from)?;
        let name = ImageName::parse(to)?;
        if name.digest.is_some() {
            let why = "a digest cannot be given, only a tag".to_owned();
            return Err(RuntimeError::BadReference { name: to.to_owned(), why });
        }
        self.change(|index| {
            let id = index.find(&sought).cloned().ok_or_else(|| no_image(from))?;
            index.add(&id, Record::default(), &[name]);
            Ok(index.image(&id).expect("it was just found"))
        })
    }

    /// Takes the name away, by id all names; with the last one the image goes, if nobody uses it.
    pub fn remove(&self, name: &str) -> Result<(), RuntimeError> {
        let sought = Sought::parse(name)?;
        self.change(|index| index.untag(&sought).then_some(()).ok_or_else(|| no_image(name)))?;
        self.collect()
    }

    /// Keeps an image's layers on disk for `holder`, whatever happens to its names, until [`Self::release`].
    pub fn lease(&self, id: &str, holder: &str) -> Result<(), RuntimeError> {
        let digest = parse_id(id)?;
        let path = lease::path(&self.leases(), holder)?;
        let _changing = Lock::exclusive(&self.lock())?;
        if !self.read_index()?.images.contains_key(&digest) {
            return Err(no_image(id));
        }
        files::replace(&path, digest.as_str().as_bytes())
    }

    /// No error if it held nothing.
    pub fn release(&self, holder: &str) -> Result<(), RuntimeError> {
        let path = lease::path(&self.leases(), holder)?;
        let Some(id) = lease::read(&path)? else { return Ok(()) };
        fs::remove_file(&path).or_else(ignore_missing).map_err(io_error(format!("removing {}", path.display())))?;
        match self.read_index()?.image(&id) {
            Some(image) if image.names.is_empty() && image.digests.is_empty() => self.collect(),
            _ => Ok(()),
        }
    }

    /// Announces that layers will be made.
    pub(super) fn work(&self) -> Result<Work, RuntimeError> {
        Lock::shared(&self.work_lock()).map(|lock| Work(Arc::new(lock)))
    }

    pub(super) fn layers(&self) -> &Layers {
        &self.layers
    }

    pub(super) fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// Makes images known whose layers are in place: configuration, record and names of each.
    pub(super) fn publish(
        &self,
        _working: &Work,
        images: Vec<(Vec<u8>, Record, Vec<ImageName>)>,
    ) -> Result<Vec<Image>, RuntimeError> {
        for (config, ..) in &images {
            let blob = self.blob(&Digest::of(config));
            // Written anew where a power cut damaged it.
            if fs::read(&blob).ok().as_ref() != Some(config) {
                files::replace(&blob, config)?;
            }
        }
        self.change(|index| {
            let added = images.into_iter().map(|(config, record, names)| {
                let id = Digest::of(&config);
                index.add(&id, record, &names);
                index.image(&id).expect("it was just added")
            });
            Ok(added.collect())
        })
    }

    /// Deletes what no image and no lease needs. While someone works on a new image, the next one does it.
    pub(super) fn collect(&self) -> Result<(), RuntimeError> {
        let Some(_sweeping) = Lock::try_exclusive(&self.work_lock())? else { return Ok(()) };
        {
            let _changing = Lock::exclusive(&self.lock())?;
            let mut index = self.read_index()?;
            if index.forget_unused(&lease::all(&self.leases())?) {
                self.write_index(&index)?;
            }
            self.layers.retire_all_but(&index.layers_in_use())?;
            self.remove_blobs_but(&index.images.keys().collect())?;
        }
        self.empty_staging()
    }

    fn change<T>(&self, edit: impl FnOnce(&mut Index) -> Result<T, RuntimeError>) -> Result<T, RuntimeError> {
        let _changing = Lock::exclusive(&self.lock())?;
        let before = self.read_index()?;
        let mut index = before.clone();
        let result = edit(&mut index)?;
        if index != before {
            self.write_index(&index)?;
        }
        Ok(result)
    }

    pub(super) fn read_index(&self) -> Result<Index, RuntimeError> {
        let path = self.root.join("index.json");
        let Some(bytes) = files::read(&path, limits::INDEX_BYTES)? else { return Ok(Index::default()) };
        let bad = |why: String| RuntimeError::BadImage { origin: path.display().to_string(), why };
        let index: Index = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
        match index.version {
            index::VERSION => Ok(index),
            other => Err(bad(format!("it has version {other}, this program knows {}", index::VERSION))),
        }
    }

    fn write_index(&self, index: &Index) -> Result<(), RuntimeError> {
        let json = serde_json::to_vec(index).expect("an index is plain data");
        files::replace(&self.root.join("index.json"), &json)
    }

    fn sweep_staging(&self) -> Result<(), RuntimeError> {
        match Lock::try_exclusive(&self.work_lock())? {
            Some(_sweeping) => self.empty_staging(),
            None => Ok(()),
        }
    }

    /// Only under an exclusive `work.lock`.
    fn empty_staging(&self) -> Result<(), RuntimeError> {
        for path in entries(&self.staging())? {
            match path.is_dir() && !path.is_symlink() {
                true => files::remove_tree(&path)?,
                false => fs::remove_file(&path).map_err(io_error(format!("removing {}", path.display())))?,
            }
        }
        Ok(())
    }

    fn remove_blobs_but(&self, used: &BTreeSet<&Digest>) -> Result<(), RuntimeError> {
        for path in entries(&self.root.join("blobs/sha256"))? {
            let digest = path.file_name().and_then(|name| name.to_str()).and_then(Digest::from_hex);
            if !digest.is_some_and(|digest| used.contains(&digest)) {
                fs::remove_file(&path).map_err(io_error(format!("removing {}", path.display())))?;
            }
        }
        Ok(())
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    fn leases(&self) -> PathBuf {
        self.root.join("leases")
    }

    fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    fn work_lock(&self) -> PathBuf {
        self.root.join("work.lock")
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, RuntimeError> {
    let doing = || format!("listing {}", folder.display());
    fs::read_dir(folder)
        .map_err(io_error(doing()))?
        .map(|entry| entry.map(|e| e.path()).map_err(io_error(doing())))
        .collect()
}

fn ignore_missing(e: std::io::Error) -> std::io::Result<()> {
    match e.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(e),
    }
}

fn parse_id(id: &str) -> Result<Digest, RuntimeError> {
    Digest::parse(id).map_err(|_| no_image(id))
}

fn no_image(name: &str) -> RuntimeError {
    RuntimeError::NotFound { what: "image", id: name.to_owned() }
}
