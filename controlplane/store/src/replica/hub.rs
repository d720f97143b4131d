//! Who watches what. A watcher owns no queue: it is told the first revision it has not seen, and reads the history.
//! So a slow one costs nobody anything, and finds out that it is too slow when the history has moved on.

use crate::state::Record;
use crate::{Revision, StoreError};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;

/// One watcher, as the hub sees it. Written only under the replica's lock, so relaxed atomics are enough.
pub struct Slot {
    pub prefix: Arc<str>,
    /// Where the watch began.
    pub after: Revision,
    /// The first revision with a change for this watcher that it has not taken, 0 for none.
    pending: AtomicU64,
    ended: OnceLock<StoreError>,
    wake: Notify,
}

impl Slot {
    pub fn new(prefix: &str, after: Revision, pending: Option<Revision>) -> Slot {
        let pending = AtomicU64::new(pending.map_or(0, |revision| revision.0));
        Slot { prefix: prefix.into(), after, pending, ended: OnceLock::new(), wake: Notify::new() }
    }

    pub fn pending(&self) -> Option<Revision> {
        Some(self.pending.load(Ordering::Relaxed)).filter(|revision| *revision > 0).map(Revision)
    }

    pub fn set_pending(&self, revision: Option<Revision>) {
        self.pending.store(revision.map_or(0, |revision| revision.0), Ordering::Relaxed);
    }

    pub fn ended(&self) -> Option<&StoreError> {
        self.ended.get()
    }

    pub async fn woken(&self) {
        self.wake.notified().await;
    }
}

/// Slots by prefix, so that a change looks only at the prefixes its key can have.
#[derive(Default)]
pub struct Hub {
    slots: BTreeMap<Arc<str>, Vec<Arc<Slot>>>,
    /// How many prefixes there are of each length.
    lengths: BTreeMap<usize, usize>,
}

impl Hub {
    pub fn add(&mut self, slot: Arc<Slot>) {
        let slots = self.slots.entry(slot.prefix.clone()).or_default();
        if slots.is_empty() {
            *self.lengths.entry(slot.prefix.len()).or_default() += 1;
        }
        slots.push(slot);
    }

    pub fn remove(&mut self, slot: &Arc<Slot>) {
        let Some(slots) = self.slots.get_mut(&slot.prefix) else { return };
        slots.retain(|other| !Arc::ptr_eq(other, slot));
        if !slots.is_empty() {
            return;
        }
        self.slots.remove(&slot.prefix);
        let length = slot.prefix.len();
        if let Some(count) = self.lengths.get_mut(&length) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&length);
            }
        }
    }

    pub fn publish(&self, record: &Record) {
        for change in record.changes.iter() {
            let prefixes = self.lengths.keys().map_while(|length| (*length <= change.key.len()).then_some(*length));
            let slots = prefixes.filter_map(|length| self.slots.get(change.key.get(..length)?)).flatten();
            for slot in slots.filter(|slot| slot.pending().is_none()) {
                slot.set_pending(Some(record.revision));
                slot.wake.notify_one();
            }
        }
    }

    /// Ends every watch, each with its own reason.
    pub fn end(&mut self, why: impl Fn(&Slot) -> StoreError) {
        for slot in self.slots.values().flatten() {
            // A watch that ended already keeps its first reason.
            let _ = slot.ended.set(why(slot));
            slot.wake.notify_one();
        }
        self.slots.clear();
        self.lengths.clear();
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.lengths.is_empty()
    }
}
