//! Config maps and secrets that pods refer to: each watched by name, once, while some pod needs it.

mod needs;

pub use needs::needs;

use crate::checkpoint::{Checkpoint, Kind, file_name};
use crate::limits;
use crate::link::{Link, Target, Update, Watch};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use coracle_proto::resource::{CONFIG_MAPS, SECRETS};
use coracle_proto::{ObjectKey, Resource};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    ConfigMap,
    Secret,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId {
    pub kind: ObjectKind,
    pub key: ObjectKey,
}

/// What is known of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Lookup {
    /// The control plane has not said yet.
    #[default]
    Unknown,
    Missing,
    Found(Arc<Values>),
}

/// The data of a config map or a secret, decoded.
#[derive(Default, PartialEq)]
pub struct Values {
    pub entries: BTreeMap<String, Bytes>,
    /// A secret's type.
    pub kind: String,
}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Values").field("keys", &self.entries.keys()).finish()
    }
}

/// All objects that one pod needs, as known now.
pub type Objects = BTreeMap<ObjectId, Lookup>;

impl ObjectKind {
    fn resource(self) -> Resource {
        match self {
            Self::ConfigMap => CONFIG_MAPS,
            Self::Secret => SECRETS,
        }
    }

    const fn checkpoint(self) -> Kind {
        match self {
            Self::ConfigMap => Kind::ConfigMap,
            Self::Secret => Kind::Secret,
        }
    }
}

impl ObjectId {
    pub fn config_map(namespace: &str, name: &str) -> Self {
        Self { kind: ObjectKind::ConfigMap, key: ObjectKey::new(namespace, name) }
    }

    pub fn secret(namespace: &str, name: &str) -> Self {
        Self { kind: ObjectKind::Secret, key: ObjectKey::new(namespace, name) }
    }
}

struct Entry {
    value: watch::Receiver<Lookup>,
    _task: AbortOnDropHandle<()>,
}

/// A pod's hold on one object. The watch ends with the last hold.
#[derive(Clone)]
pub struct Held {
    value: watch::Receiver<Lookup>,
    _entry: Arc<Entry>,
}

impl Held {
    pub fn get(&self) -> Lookup {
        self.value.borrow().clone()
    }

    pub async fn changed(&mut self) {
        if self.value.changed().await.is_err() {
            // Its task ends only with the entry, which we hold.
            std::future::pending::<()>().await;
        }
    }
}

#[derive(Clone)]
pub struct ObjectCache {
    link: Link,
    checkpoint: Checkpoint,
    entries: Arc<Mutex<HashMap<ObjectId, Weak<Entry>>>>,
}

impl ObjectCache {
    pub fn new(link: Link, checkpoint: Checkpoint) -> Self {
        Self { link, checkpoint, entries: Arc::default() }
    }

    /// `None` where the node already follows as many as it may.
    pub fn hold(&self, id: &ObjectId) -> Option<Held> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(id).and_then(Weak::upgrade) {
            return Some(Held { value: entry.value.clone(), _entry: entry });
        }
        entries.retain(|_, entry| entry.strong_count() > 0);
        if entries.len() >= limits::OBJECTS_MAX {
            tracing::warn!(limit = limits::OBJECTS_MAX, "too many config maps and secrets are in use on this node");
            return None;
        }
        let known = self.checkpoint.load_one(id.kind.checkpoint(), &file_name(&id.key));
        let first = known.map_or(Lookup::Unknown, |object| read(id.kind, &object));
        let (sender, value) = watch::channel(first);
        let task = tokio::spawn(follow(self.link.clone(), self.checkpoint.clone(), id.clone(), sender));
        let entry = Arc::new(Entry { value: value.clone(), _task: AbortOnDropHandle::new(task) });
        entries.insert(id.clone(), Arc::downgrade(&entry));
        Some(Held { value, _entry: entry })
    }

    /// Forgets on disk what no pod needs any more.
    pub fn prune(&self) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|id, entry| {
            let used = entry.strong_count() > 0;
            if !used {
                self.checkpoint.remove(id.kind.checkpoint(), file_name(&id.key));
            }
            used
        });
    }
}

async fn follow(link: Link, checkpoint: Checkpoint, id: ObjectId, value: watch::Sender<Lookup>) {
    let target = Target {
        resource: id.kind.resource(),
        namespace: id.key.namespace.clone(),
        fields: format!("metadata.name={}", id.key.name),
    };
    let mut watch = Watch::start(link, target);
    loop {
        let object = match watch.next().await {
            Update::Synced(list) => list.into_iter().next(),
            Update::Changed(object) => Some(object),
            Update::Deleted(_) => None,
        };
        let found = match object {
            Some(object) => {
                let found = read(id.kind, &object);
                checkpoint.put(id.kind.checkpoint(), file_name(&id.key), object);
                found
            }
            None => {
                checkpoint.remove(id.kind.checkpoint(), file_name(&id.key));
                Lookup::Missing
            }
        };
        value.send_if_modified(|old| {
            let changed = *old != found;
            *old = found;
            changed
        });
    }
}

/// An object that cannot be read is as good as not there yet.
fn read(kind: ObjectKind, object: &Bytes) -> Lookup {
    let read = match kind {
        ObjectKind::ConfigMap => serde_json::from_slice(object).map(config_map_values),
        ObjectKind::Secret => serde_json::from_slice(object).map(secret_values),
    };
    match read {
        Ok(values) => Lookup::Found(Arc::new(values)),
        Err(error) => {
            tracing::warn!(%error, ?kind, "an object could not be read");
            Lookup::Unknown
        }
    }
}

fn config_map_values(object: ConfigMap) -> Values {
    let text = object.data.unwrap_or_default().into_iter().map(|(k, v)| (k, Bytes::from(v)));
    let binary = object.binary_data.unwrap_or_default().into_iter().map(|(k, v)| (k, Bytes::from(v.0)));
    Values { entries: text.chain(binary).collect(), kind: String::new() }
}

fn secret_values(object: Secret) -> Values {
    let entries = object.data.unwrap_or_default().into_iter().map(|(k, v)| (k, Bytes::from(v.0))).collect();
    Values { entries, kind: object.type_.unwrap_or_default() }
}

/// Reads a registry's credentials: the `auth` field, base64 of `user:password`.
pub fn decode_auth(auth: &str) -> Option<(String, String)> {
    let decoded = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
