//! What the agent was told, on disk, so that it can work when the control plane is gone.
//!
//! One file per object, written aside and renamed, readable by root only: secrets are among them. Writes are behind
//! the work and never hold it up; what a crash loses is told again.

use crate::error::AgentError;
use crate::limits;
use crate::link::Update;
use bytes::Bytes;
use coracle_proto::{ObjectKey, meta};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Pod,
    /// What this agent last told of a pod, whether or not the API heard it.
    PodStatus,
    ConfigMap,
    Secret,
    Service,
    EndpointSlice,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Pod, Self::PodStatus, Self::ConfigMap, Self::Secret, Self::Service, Self::EndpointSlice];

    const fn folder(self) -> &'static str {
        match self {
            Self::Pod => "pods",
            Self::PodStatus => "statuses",
            Self::ConfigMap => "configmaps",
            Self::Secret => "secrets",
            Self::Service => "services",
            Self::EndpointSlice => "endpointslices",
        }
    }
}

/// A change that waits to be written. Only the last of each object counts, so this is bounded by what there is.
type Pending = BTreeMap<(Kind, String), Option<Bytes>>;

#[derive(Clone)]
pub struct Checkpoint {
    root: PathBuf,
    pending: Arc<Mutex<Pending>>,
    changed: Arc<Notify>,
}

impl Checkpoint {
    pub fn open(root: PathBuf) -> Result<Self, AgentError> {
        for kind in Kind::ALL {
            let folder = root.join(kind.folder());
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            made.map_err(AgentError::io(format!("making {}", folder.display())))?;
        }
        Ok(Self { root, pending: Arc::default(), changed: Arc::default() })
    }

    /// What an earlier agent was told. A file that cannot be read is left out with a warning: it is told again.
    pub fn load(&self, kind: Kind) -> Vec<Bytes> {
        let folder = self.root.join(kind.folder());
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let objects = entries.filter(|e| e.path().extension().is_some_and(|x| x == "json"));
        objects.filter_map(|entry| read_object(&entry.path())).collect()
    }

    pub fn load_one(&self, kind: Kind, name: &str) -> Option<Bytes> {
        let path = self.path(kind, name);
        path.exists().then(|| read_object(&path)).flatten()
    }

    pub fn put(&self, kind: Kind, name: String, object: Bytes) {
        self.change((kind, name), Some(object));
    }

    pub fn remove(&self, kind: Kind, name: String) {
        self.change((kind, name), None);
    }

    /// Keeps the folder of `kind` as a watch of all its objects has it.
    pub fn follow(&self, kind: Kind, update: &Update) {
        let name = |object: &Bytes| serde_json::from_slice(object).ok().map(|tree| object_name(kind, &tree));
        match update {
            Update::Synced(list) => {
                let names: BTreeSet<String> = list.iter().filter_map(name).collect();
                for stale in self.names(kind).difference(&names) {
                    self.remove(kind, stale.clone());
                }
                for object in list {
                    name(object).into_iter().for_each(|n| self.put(kind, n, object.clone()));
                }
            }
            Update::Changed(object) => name(object).into_iter().for_each(|n| self.put(kind, n, object.clone())),
            Update::Deleted(object) => name(object).into_iter().for_each(|n| self.remove(kind, n)),
        }
    }

    fn names(&self, kind: Kind) -> BTreeSet<String> {
        let entries = fs::read_dir(self.root.join(kind.folder())).into_iter().flatten().flatten();
        let written = entries.filter_map(|e| Some(e.file_name().to_str()?.strip_suffix(".json")?.to_owned()));
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        written.chain(pending.keys().filter(|(k, _)| *k == kind).map(|(_, name)| name.clone())).collect()
    }

    fn change(&self, key: (Kind, String), object: Option<Bytes>) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).insert(key, object);
        self.changed.notify_one();
    }

    fn path(&self, kind: Kind, name: &str) -> PathBuf {
        self.root.join(kind.folder()).join(format!("{name}.json"))
    }

    /// Writes what changes, until it is dropped.
    pub async fn run(self) {
        loop {
            self.changed.notified().await;
            tokio::time::sleep(limits::CHECKPOINT_DELAY).await;
            let this = self.clone();
            if tokio::task::spawn_blocking(move || this.flush()).await.is_err() {
                tracing::warn!("writing the checkpoint was interrupted");
            }
        }
    }

    /// Writes all that waits.
    pub fn flush(&self) {
        let pending = std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        for ((kind, name), object) in pending {
            let path = self.path(kind, &name);
            let done = match object {
                Some(object) => write_aside(&path, &object),
                None => remove_if_there(&path),
            };
            if let Err(error) = done {
                tracing::warn!(%error, path = %path.display(), "a checkpoint could not be written");
            }
        }
    }

    pub fn delete_all(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.root)
    }
}

/// Pods by UID, for two of one name may be there; everything else by namespace and name.
fn object_name(kind: Kind, object: &coracle_proto::Tree) -> String {
    match kind {
        Kind::Pod => meta::uid(object).to_owned(),
        _ => file_name(&ObjectKey::of(object)),
    }
}

/// Neither part can hold an underscore or a slash.
pub fn file_name(key: &ObjectKey) -> String {
    format!("{}_{}", key.namespace, key.name)
}

fn read_object(path: &Path) -> Option<Bytes> {
    let read = fs::read(path).and_then(|bytes| {
        serde_json::from_slice::<serde::de::IgnoredAny>(&bytes)?;
        Ok(Bytes::from(bytes))
    });
    read.inspect_err(|error| tracing::warn!(%error, path = %path.display(), "a checkpoint could not be read")).ok()
}

fn write_aside(path: &Path, object: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(object)?;
    file.sync_data()?;
    fs::rename(&aside, path)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn object(name: &str, data: &str) -> Bytes {
        Bytes::from(format!(r#"{{"metadata":{{"namespace":"d","name":"{name}"}},"data":"{data}"}}"#))
    }

    #[test]
    fn what_was_told_is_there_for_the_next_agent() {
        let folder = tempfile::tempdir().expect("a folder");
        let checkpoint = Checkpoint::open(folder.path().join("c")).expect("opens");
        let (a, b) = (object("a", "1"), object("b", "1"));
        checkpoint.follow(Kind::Secret, &Update::Synced(vec![a.clone(), b.clone()]));
        checkpoint.flush();
        let next = Checkpoint::open(folder.path().join("c")).expect("opens");
        assert_eq!(next.load_one(Kind::Secret, "d_a"), Some(a));
        let file = folder.path().join("c/secrets/d_a.json");
        assert_eq!(fs::metadata(&file).expect("is there").permissions().mode() & 0o777, 0o600);
        next.follow(Kind::Secret, &Update::Synced(vec![b.clone()]));
        next.follow(Kind::Secret, &Update::Changed(object("b", "2")));
        next.flush();
        assert_eq!(next.load(Kind::Secret), vec![object("b", "2")]);
        next.follow(Kind::Secret, &Update::Deleted(b));
        next.flush();
        assert!(next.load(Kind::Secret).is_empty());
    }

    #[test]
    fn a_torn_file_is_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let checkpoint = Checkpoint::open(folder.path().to_owned()).expect("opens");
        fs::write(folder.path().join("pods/x.json"), "{\"metadata\":").expect("writes");
        assert!(checkpoint.load(Kind::Pod).is_empty());
    }
}
