//! One server's copy of the state, shared by readers, watchers and the one task that applies.
//! The lock is held for microseconds and never across an await; readers take a view and leave.

mod hub;
mod pins;
mod watch;

use crate::limits::{HistoryLimits, WAIT_FOR_REVISION};
use crate::state::{Image, MapView, Millis, Proposal, State};
use crate::{Committed, Revision, Stamp, StoreError, Term, View, Watch};
use hub::Hub;
use parking::{read, write};
use pins::Pins;
use std::sync::{Arc, RwLock};

pub struct Replica {
    inner: RwLock<Inner>,
    newest: tokio::sync::watch::Sender<Revision>,
    stamp: Stamp,
    limits: HistoryLimits,
}

struct Inner {
    state: State,
    hub: Hub,
    pins: Pins,
    /// Why the store serves no more.
    stopped: Option<StoreError>,
}

impl Replica {
    pub fn new(stamp: Stamp, limits: HistoryLimits) -> Replica {
        let state = State::new(stamp, limits);
        let newest = tokio::sync::watch::Sender::new(state.revision());
        let inner = Inner { state, hub: Hub::default(), pins: Pins::default(), stopped: None };
        Replica { inner: RwLock::new(inner), newest, stamp, limits }
    }

    /// Applies one transaction and tells the watchers it concerns.
    pub fn apply(&self, proposal: &Proposal, ruling: Term, now: Millis) -> Result<Committed, StoreError> {
        let mut guard = write(&self.inner);
        let inner = &mut *guard;
        let before = inner.state.revision();
        let outcome = inner.state.apply(proposal, ruling, now);
        let revision = inner.state.revision();
        if revision > before {
            let records = inner.state.changes_after(before).expect("the history always keeps the newest change");
            records.for_each(|record| inner.hub.publish(record));
            inner.pins.drop_below(inner.state.oldest());
            drop(guard);
            self.newest.send_replace(revision);
        }
        outcome
    }

    /// Puts a whole other state in place. Watches end: what lies between is not known.
    pub fn install(&self, image: Image) {
        let mut inner = write(&self.inner);
        inner.state = State::from_image(image, self.stamp, self.limits);
        inner.pins = Pins::default();
        let oldest = inner.state.oldest();
        inner.hub.end(|slot| StoreError::Compacted { requested: slot.after, oldest });
        let revision = inner.state.revision();
        drop(inner);
        self.newest.send_replace(revision);
    }

    /// What a snapshot is made of.
    pub fn image(&self) -> Image {
        read(&self.inner).state.image()
    }

    /// Ends every watch and refuses new ones; reads of what was applied stay possible.
    pub fn stop(&self, why: StoreError) {
        let mut inner = write(&self.inner);
        inner.hub.end(|_| why.clone());
        inner.stopped.get_or_insert(why);
    }

    pub fn stopped(&self) -> Option<StoreError> {
        read(&self.inner).stopped.clone()
    }

    pub fn view(&self) -> Arc<dyn View> {
        Arc::new(read(&self.inner).state.view())
    }

    pub fn view_at(&self, revision: Revision) -> Result<Arc<dyn View>, StoreError> {
        let rewind = {
            let inner = read(&self.inner);
            let rewind = inner.state.view_at(revision)?;
            if let Some(pinned) = inner.pins.find(revision) {
                return Ok(pinned);
            }
            rewind
        };
        let view: Arc<MapView> = Arc::new(rewind.finish());
        let mut inner = write(&self.inner);
        if revision >= inner.state.oldest() {
            inner.pins.pin(view.clone());
        }
        Ok(view)
    }

    pub fn watch(self: &Arc<Self>, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
        watch::open(self, prefix, after)
    }

    pub async fn wait_for(&self, revision: Revision) -> Result<(), StoreError> {
        let mut newest = self.newest.subscribe();
        let reached = newest.wait_for(|newest| *newest >= revision);
        match tokio::time::timeout(WAIT_FOR_REVISION, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(StoreError::Future { requested: revision, newest: *self.newest.borrow() }),
        }
    }
}

/// The lock's poison is ignored: whatever can panic under it does so before anything is changed.
mod parking {
    use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

    pub fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
        lock.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
        lock.write().unwrap_or_else(PoisonError::into_inner)
    }
}
