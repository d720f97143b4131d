//! Unpacked layers by chain id. A layer is made aside and renamed into place when it is whole and synced, so what is
//! in place is always complete, whoever made it.

use super::digest::Digest;
use super::fault::{errno, io_error};
use super::{files, limits};
use crate::RuntimeError;
use rustix::fs::{CWD, RenameFlags};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

#[derive(Clone, Debug)]
pub struct Layers {
    root: PathBuf,
    staging: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LayerRecord {
    pub diff_id: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Digest>,
    pub bytes: u64,
    /// Set where the files were not synced: good until this boot of the host ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
}

/// A layer being made: a folder aside, gone when dropped before it is kept.
#[derive(Debug)]
pub struct Draft {
    folder: TempDir,
}

impl Draft {
    pub fn diff(&self) -> PathBuf {
        self.folder.path().join("diff")
    }
}

/// Rule: <https://github.com/opencontainers/image-spec/blob/v1.1.0/config.md#layer-chainid>.
pub fn chain_id(parent: Option<&Digest>, diff_id: &Digest) -> Digest {
    match parent {
        None => diff_id.clone(),
        Some(parent) => Digest::of(format!("{parent} {diff_id}").as_bytes()),
    }
}

impl Layers {
    pub fn open(root: PathBuf, staging: PathBuf) -> Result<Self, RuntimeError> {
        files::ensure_folder(&root)?;
        files::ensure_folder(&staging)?;
        Ok(Layers { root, staging })
    }

    pub fn diff(&self, chain: &Digest) -> PathBuf {
        self.folder(chain).join("diff")
    }

    fn folder(&self, chain: &Digest) -> PathBuf {
        self.root.join(chain.hex())
    }

    pub fn record(&self, chain: &Digest) -> Result<Option<LayerRecord>, RuntimeError> {
        let path = self.folder(chain).join("layer.json");
        let Some(bytes) = files::read(&path, limits::DOCUMENT_BYTES)? else { return Ok(None) };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| RuntimeError::BadImage { origin: path.display().to_string(), why: e.to_string() })
    }

    pub fn draft(&self) -> Result<Draft, RuntimeError> {
        let doing = || format!("making a folder in {}", self.staging.display());
        let folder = TempDir::with_prefix_in("layer-", &self.staging).map_err(io_error(doing()))?;
        let draft = Draft { folder };
        fs::create_dir(draft.diff()).map_err(io_error(doing()))?;
        fs::set_permissions(draft.diff(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(io_error(doing()))?;
        Ok(draft)
    }

    /// Puts a finished layer in its place. If another process was faster, its layer stands.
    pub fn keep(&self, draft: Draft, chain: &Digest, record: &LayerRecord) -> Result<(), RuntimeError> {
        let folder = draft.folder.path();
        let json = serde_json::to_vec(record).expect("a record is plain data");
        let path = folder.join("layer.json");
        fs::write(&path, json).map_err(io_error(format!("writing {}", path.display())))?;
        if record.boot.is_none() {
            sync_all(folder)?;
        }
        match rustix::fs::renameat_with(CWD, folder, CWD, self.folder(chain), RenameFlags::NOREPLACE) {
            Ok(()) => drop(draft.folder.keep()),
            Err(rustix::io::Errno::EXIST) => return self.keep_instead(draft, chain),
            Err(e) => return Err(errno(format!("moving layer {chain} into place"))(e)),
        }
        match record.boot {
            None => files::sync_folder(&self.root),
            Some(_) => Ok(()),
        }
    }

    /// A layer that outlived its boot may be damaged: the new one takes its place. Else the old one stays.
    fn keep_instead(&self, draft: Draft, chain: &Digest) -> Result<(), RuntimeError> {
        if self.usable(chain)? {
            return Ok(());
        }
        rustix::fs::renameat_with(CWD, draft.folder.path(), CWD, self.folder(chain), RenameFlags::EXCHANGE)
            .map_err(errno(format!("replacing layer {chain}")))
    }

    /// In place, and whole for certain.
    pub fn usable(&self, chain: &Digest) -> Result<bool, RuntimeError> {
        Ok(match self.record(chain)? {
            None => false,
            Some(LayerRecord { boot: None, .. }) => true,
            Some(LayerRecord { boot: Some(boot), .. }) => boot == boot_id()?,
        })
    }

    /// Takes every layer but these out of the way, into the staging folder.
    pub fn retire_all_but(&self, used: &BTreeSet<&Digest>) -> Result<(), RuntimeError> {
        let doing = || format!("listing {}", self.root.display());
        for entry in fs::read_dir(&self.root).map_err(io_error(doing()))? {
            let entry = entry.map_err(io_error(doing()))?;
            let name = entry.file_name();
            let chain = name.to_str().and_then(Digest::from_hex);
            if chain.is_some_and(|chain| used.contains(&chain)) {
                continue;
            }
            let bin = TempDir::with_prefix_in("gone-", &self.staging).map_err(io_error(doing()))?.keep();
            fs::rename(entry.path(), bin.join("layer"))
                .map_err(io_error(format!("removing {}", entry.path().display())))?;
        }
        Ok(())
    }
}

fn sync_all(folder: &Path) -> Result<(), RuntimeError> {
    let doing = || format!("syncing {}", folder.display());
    let open = File::open(folder).map_err(io_error(doing()))?;
    rustix::fs::syncfs(&open).map_err(errno(doing()))
}

/// Differs after each start of the host's kernel.
pub fn boot_id() -> Result<String, RuntimeError> {
    let path = "/proc/sys/kernel/random/boot_id";
    fs::read_to_string(path).map(|text| text.trim().to_owned()).map_err(io_error(format!("reading {path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_ids_are_those_of_the_specification() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        assert_eq!(chain_id(None, &a), a);
        assert_eq!(chain_id(Some(&a), &b), Digest::of(format!("{a} {b}").as_bytes()));
    }

    #[test]
    fn a_layer_is_kept_once_and_one_of_an_older_boot_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let layers = Layers::open(dir.path().join("layers"), dir.path().join("staging")).unwrap();
        let chain = Digest::of(b"x");
        let record = |boot: Option<&str>| LayerRecord {
            diff_id: chain.clone(),
            parent: None,
            bytes: 0,
            boot: boot.map(str::to_owned),
        };
        let make = |content: &str, boot| {
            let draft = layers.draft().unwrap();
            fs::write(draft.diff().join("f"), content).unwrap();
            layers.keep(draft, &chain, &record(boot)).unwrap();
            fs::read_to_string(layers.diff(&chain).join("f")).unwrap()
        };
        assert!(!layers.usable(&chain).unwrap());
        assert_eq!(make("older boot", Some("another boot")), "older boot");
        assert!(!layers.usable(&chain).unwrap());
        assert_eq!(make("first", None), "first");
        assert!(layers.usable(&chain).unwrap());
        assert_eq!(make("second", None), "first");
        assert_eq!(fs::read_dir(dir.path().join("staging")).unwrap().count(), 0);
    }
}
