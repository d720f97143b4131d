//! One shared, watched cache per kind. Readers see projections; the full object is decoded on demand.
//!
//! Level-triggered: a handler is told which key changed, and may miss states in between, never the last one.

use crate::cache::{Cache, Cached, Delta};
use crate::facts::{Kind, Project};
use crate::{ResourceApi, reflector};
use coracle_proto::{ListOptions, Object, ObjectKey, Resource};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

type Handler<T> = Box<dyn Fn(&Delta<T>) + Send + Sync>;

pub struct Informer<T> {
    pub(crate) api: Arc<dyn ResourceApi>,
    pub(crate) resource: Resource,
    pub(crate) options: ListOptions,
    cache: RwLock<Cache<T>>,
    /// Held while changes are applied and told, so that a new handler misses nothing and hears nothing twice.
    handlers: Mutex<Vec<Handler<T>>>,
    /// The revision seen; `None` until the first list is in.
    seen: watch::Sender<Option<u64>>,
}

/// One step of the reflector.
pub(crate) enum Step<T> {
    Put(T, Object),
    Remove(ObjectKey, u64),
    Seen(u64),
}

impl<T: Project> Informer<T> {
    /// Of `options`, the namespace and the selectors count. Nothing happens before [`Self::start`].
    pub fn new(api: Arc<dyn ResourceApi>, resource: Resource, options: ListOptions) -> Arc<Self> {
        Arc::new(Self {
            api,
            resource,
            options,
            cache: RwLock::new(Cache::new()),
            handlers: Mutex::default(),
            seen: watch::Sender::new(None),
        })
    }

    /// Lists and watches until `stop`.
    pub fn start(self: &Arc<Self>, stop: CancellationToken) -> JoinHandle<()> {
        tokio::spawn(reflector::run(self.clone(), stop))
    }

    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    pub fn get(&self, key: &ObjectKey) -> Option<Arc<T>> {
        self.read().get(key).map(|c| c.facts.clone())
    }

    /// The full object, as shared bytes.
    pub fn object(&self, key: &ObjectKey) -> Option<Object> {
        self.read().get(key).map(|c| c.object.clone())
    }

    /// In key order, like every list here.
    pub fn list(&self) -> Vec<Arc<T>> {
        collect(self.read().values())
    }

    pub fn len(&self) -> usize {
        self.read().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        collect(self.read().in_namespace(namespace))
    }

    /// Objects with an owner reference (controlling or not) to this uid.
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<T>> {
        collect(self.read().owned_by(uid))
    }

    /// As [`Self::owned_by`], full objects.
    pub fn objects_owned_by(&self, uid: &str) -> Vec<Object> {
        self.read().owned_by(uid).map(|c| c.object.clone()).collect()
    }

    /// By one of `T::indexes()`.
    pub fn indexed(&self, index: &str, value: &str) -> Vec<Arc<T>> {
        collect(self.read().indexed(index, value))
    }

    /// Calls `handler` for everything that is there, then for every change, on the informer's task. It must not block;
    /// most put a key into a [`crate::WorkQueue`]. It may read any informer, but not subscribe.
    pub fn subscribe(&self, handler: impl Fn(&Delta<T>) + Send + Sync + 'static) {
        let mut handlers = self.lock_handlers();
        for facts in self.list() {
            handler(&Delta { key: facts.meta().key.clone(), old: None, new: Some(facts) });
        }
        handlers.push(Box::new(handler));
    }

    /// Everything up to this revision has been seen.
    pub fn revision(&self) -> u64 {
        self.read().revision
    }

    pub fn is_synced(&self) -> bool {
        self.seen.borrow().is_some()
    }

    /// Returns once the first list is in and every handler has been told of it.
    pub async fn synced(&self) {
        self.wait_seen(|seen| seen.is_some()).await;
    }

    /// Returns once everything up to `revision` has been seen and told.
    pub async fn reached(&self, revision: u64) {
        self.wait_seen(|seen| seen.is_some_and(|r| r >= revision)).await;
    }

    async fn wait_seen(&self, enough: impl Fn(&Option<u64>) -> bool) {
        let waited = self.seen.subscribe().wait_for(enough).await.map(|_| ());
        waited.expect("the sender lives as long as the informer");
    }

    /// Applies steps in order, then tells the handlers.
    pub(crate) fn apply(&self, steps: impl IntoIterator<Item = Step<T>>) {
        let handlers = self.lock_handlers();
        let (deltas, revision) = {
            let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
            let deltas: Vec<_> = steps.into_iter().filter_map(|step| cache.step(step)).collect();
            (deltas, cache.revision)
        };
        for delta in &deltas {
            handlers.iter().for_each(|handler| handler(delta));
        }
        if self.is_synced() {
            self.seen.send_replace(Some(revision));
        }
    }

    /// Replaces everything by a list read at `revision`.
    pub(crate) fn replace(&self, objects: Vec<(T, Object)>, revision: u64) {
        let listed: std::collections::HashSet<_> = objects.iter().map(|(facts, _)| facts.meta().key.clone()).collect();
        let gone: Vec<_> = self.read().keys().filter(|key| !listed.contains(*key)).cloned().collect();
        let removals = gone.into_iter().map(|key| Step::Remove(ObjectKey::clone(&key), revision));
        let puts = objects.into_iter().map(|(facts, object)| Step::Put(facts, object));
        self.apply(removals.chain(puts).chain([Step::Seen(revision)]));
        self.seen.send_replace(Some(revision));
    }

    fn read(&self) -> RwLockReadGuard<'_, Cache<T>> {
        self.cache.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_handlers(&self) -> MutexGuard<'_, Vec<Handler<T>>> {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Kind> Informer<T> {
    /// All objects of `T`'s kind.
    pub fn of_kind(api: Arc<dyn ResourceApi>) -> Arc<Self> {
        Self::new(api, T::RESOURCE, ListOptions::default())
    }
}

impl<T: Project> Cache<T> {
    fn step(&mut self, step: Step<T>) -> Option<Delta<T>> {
        let (delta, revision) = match step {
            Step::Put(facts, object) => {
                let revision = object.revision;
                (self.put(facts, object), revision)
            }
            Step::Remove(key, revision) => (self.remove(&key, revision), revision),
            Step::Seen(revision) => (None, revision),
        };
        self.revision = self.revision.max(revision);
        delta
    }
}

fn collect<'a, T: 'a>(cached: impl Iterator<Item = &'a Cached<T>>) -> Vec<Arc<T>> {
    cached.map(|c| c.facts.clone()).collect()
}
