//! Remembers a controller's own writes until its caches show them, so that it never acts twice on a stale cache.
//!
//! Upstream counts "expectations"; with one revision counter for the whole cluster, the revision of the last write is
//! enough for everything but deletions, whose revision the API does not tell.

use crate::limits::OWN_WRITE_TIMEOUT;
use coracle_client::facts::Project;
use coracle_client::{Informer, Key};
use coracle_proto::{Object, ObjectKey};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// One per controller; entries by the key being reconciled.
pub(crate) struct Ledger<K> {
    entries: Mutex<HashMap<K, Entry>>,
}

struct Entry {
    revision: u64,
    /// Objects being deleted, by uid.
    deleted: HashMap<Arc<str>, ObjectKey>,
    since: Instant,
}

impl<K: Key> Ledger<K> {
    pub(crate) fn new() -> Self {
        Self { entries: Mutex::default() }
    }

    pub(crate) fn wrote(&self, key: &K, object: &Object) {
        self.with(key, |entry| entry.revision = entry.revision.max(object.revision));
    }

    pub(crate) fn deleted(&self, key: &K, object: &ObjectKey, uid: &Arc<str>) {
        self.with(key, |entry| {
            entry.deleted.insert(uid.clone(), object.clone());
        });
    }

    pub(crate) fn forget(&self, key: &K) {
        self.lock().remove(key);
    }

    /// Whether `cache` shows everything `key`'s reconciles wrote. After a long time it is believed anyway.
    pub(crate) fn is_seen<T: Project>(&self, key: &K, cache: &Informer<T>) -> bool {
        let seen = cache.revision();
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(key) else { return true };
        entry.deleted.retain(|uid, object| {
            let found = cache.get(object);
            found.is_some_and(|f| f.meta().uid == *uid && !f.meta().is_deleting())
        });
        let caught_up = entry.revision <= seen && entry.deleted.is_empty();
        let given_up = entry.since.elapsed() > OWN_WRITE_TIMEOUT;
        if given_up && !caught_up {
            tracing::warn!(%key, "a write has not shown up in the cache for long; going on without it");
        }
        if caught_up || given_up {
            entries.remove(key);
        }
        caught_up || given_up
    }

    fn with(&self, key: &K, change: impl FnOnce(&mut Entry)) {
        let new = || Entry { revision: 0, deleted: HashMap::new(), since: Instant::now() };
        let mut entries = self.lock();
        let entry = entries.entry(key.clone()).or_insert_with(new);
        entry.since = Instant::now();
        change(entry);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
