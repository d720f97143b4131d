//! A queue of keys to reconcile: each waits at most once, is worked on by one worker at a time, and backs off on failure.
//!
//! First in, first out, so no key starves another. As keys are not doubled, their number is bounded by the objects'.

use crate::limits::KEY_BACKOFF;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// What a queue may hold.
pub trait Key: Clone + Eq + Hash + Ord + Send + Sync + std::fmt::Display + 'static {}

impl<K: Clone + Eq + Hash + Ord + Send + Sync + std::fmt::Display + 'static> Key for K {}

/// A handle; clones share the queue.
pub struct WorkQueue<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for WorkQueue<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

struct Shared<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

struct State<K> {
    ready: VecDeque<K>,
    /// In `ready`, or to go there when the worker that has it is done.
    dirty: HashSet<K>,
    working: HashSet<K>,
    /// By due time; the number makes entries unique.
    delayed: BTreeMap<(Instant, u64), K>,
    /// Each key is delayed at most once, at its earliest due time.
    due: HashMap<K, (Instant, u64)>,
    failures: HashMap<K, u32>,
    sequence: u64,
    closed: bool,
}

impl<K: Key> Default for WorkQueue<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Key> WorkQueue<K> {
    pub fn new() -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            working: HashSet::new(),
            delayed: BTreeMap::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
            sequence: 0,
            closed: false,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }) }
    }

    pub fn add(&self, key: K) {
        self.lock().add(key);
        self.shared.changed.notify_one();
    }

    /// Adds after `delay`; an earlier due time stands.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        self.lock().delay(key, Instant::now() + delay);
        self.shared.changed.notify_one();
    }

    /// Adds after the key's own back-off, which doubles until [`Self::forget`].
    pub fn retry(&self, key: K) -> Duration {
        let mut state = self.lock();
        let failures = state.failures.entry(key.clone()).or_insert(0);
        let delay = backoff(*failures);
        *failures = failures.saturating_add(1);
        state.delay(key, Instant::now() + delay);
        drop(state);
        self.shared.changed.notify_one();
        delay
    }

    /// Ends the key's back-off.
    pub fn forget(&self, key: &K) {
        self.lock().failures.remove(key);
    }

    /// The next key to work on; `None` once the queue is closed. Give it back with [`Self::done`].
    pub async fn next(&self) -> Option<K> {
        loop {
            let wake = {
                let mut state = self.lock();
                if state.closed {
                    // Passed on, so that every waiting worker hears of it.
                    self.shared.changed.notify_one();
                    return None;
                }
                state.promote(Instant::now());
                if let Some(key) = state.take() {
                    if !state.ready.is_empty() {
                        self.shared.changed.notify_one();
                    }
                    return Some(key);
                }
                state.delayed.keys().next().map(|(due, _)| *due)
            };
            // `notify_one` leaves a permit when nobody waits, so a change since the lock was dropped is not missed.
            match wake {
                Some(due) => tokio::select! {
                    () = self.shared.changed.notified() => {}
                    () = sleep_until(due) => {}
                },
                None => self.shared.changed.notified().await,
            }
        }
    }

    /// The worker has finished with `key`. If it was added meanwhile, it is ready again.
    pub fn done(&self, key: &K) {
        self.lock().done(key);
        self.shared.changed.notify_one();
    }

    /// Hands out no more keys.
    pub fn close(&self) {
        self.lock().closed = true;
        self.shared.changed.notify_waiters();
        self.shared.changed.notify_one();
    }

    /// Keys ready now.
    pub fn len(&self) -> usize {
        self.lock().ready.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Key> State<K> {
    fn add(&mut self, key: K) {
        if self.closed || !self.dirty.insert(key.clone()) {
            return;
        }
        if !self.working.contains(&key) {
            self.ready.push_back(key);
        }
    }

    fn delay(&mut self, key: K, due: Instant) {
        if self.closed {
            return;
        }
        if let Some(known) = self.due.get(&key) {
            if known.0 <= due {
                return;
            }
            self.delayed.remove(known);
        }
        self.sequence += 1;
        let at = (due, self.sequence);
        self.delayed.insert(at, key.clone());
        self.due.insert(key, at);
    }

    /// Makes ready what is due.
    fn promote(&mut self, now: Instant) {
        while let Some(first) = self.delayed.first_entry().filter(|first| first.key().0 <= now) {
            let key = first.remove();
            self.due.remove(&key);
            self.add(key);
        }
    }

    fn take(&mut self) -> Option<K> {
        let key = self.ready.pop_front()?;
        self.dirty.remove(&key);
        self.working.insert(key.clone());
        Some(key)
    }

    fn done(&mut self, key: &K) {
        self.working.remove(key);
        if self.dirty.contains(key) {
            self.ready.push_back(key.clone());
        }
    }
}

fn backoff(failures: u32) -> Duration {
    KEY_BACKOFF.0.saturating_mul(2u32.saturating_pow(failures)).min(KEY_BACKOFF.1)
}
