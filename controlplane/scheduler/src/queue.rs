//! Which pod is next: by priority, then by age. Pods that found no node wait for a change, never less than their back-off.
//!
//! Pure: time comes in with every call.

use crate::limits::{BACKOFF, UNSCHEDULABLE_WAIT};
use coracle_proto::ObjectKey;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// Highest priority first, then first come first served.
type Rank = (Reverse<i32>, u64);

#[derive(Default)]
pub struct Queue {
    pods: BTreeMap<ObjectKey, Waiting>,
    ready: BTreeSet<(Rank, ObjectKey)>,
    sequence: u64,
}

struct Waiting {
    rank: Rank,
    /// Attempts that found no node.
    failures: u32,
    /// Not before this; `None` while it is ready or being worked on.
    due: Option<Due>,
}

#[derive(Clone, Copy)]
struct Due {
    /// The end of the back-off.
    earliest: Instant,
    /// Tried again then, whether or not the world changed.
    latest: Instant,
    /// The world changed since.
    woken: bool,
}

impl Queue {
    /// A pod to schedule. One that is known already keeps its place and its back-off.
    pub fn add(&mut self, key: ObjectKey, priority: i32) {
        if self.pods.contains_key(&key) {
            return;
        }
        self.sequence += 1;
        let rank = (Reverse(priority), self.sequence);
        self.ready.insert((rank, key.clone()));
        self.pods.insert(key, Waiting { rank, failures: 0, due: None });
    }

    /// The pod is placed, gone or changed: forget it.
    pub fn remove(&mut self, key: &ObjectKey) {
        if let Some(waiting) = self.pods.remove(key) {
            self.ready.remove(&(waiting.rank, key.clone()));
        }
    }

    /// Makes ready what has waited long enough.
    pub fn promote(&mut self, now: Instant) {
        for (key, waiting) in &mut self.pods {
            if waiting.due.is_some_and(|due| due.at() <= now) {
                waiting.due = None;
                self.ready.insert((waiting.rank, key.clone()));
            }
        }
    }

    /// The next pod to try. It stays known until [`Self::remove`] or [`Self::failed`].
    pub fn pop(&mut self) -> Option<ObjectKey> {
        self.ready.pop_first().map(|(_, key)| key)
    }

    /// No node fitted, or the binding was refused.
    pub fn failed(&mut self, key: &ObjectKey, now: Instant) {
        if let Some(waiting) = self.pods.get_mut(key) {
            let backoff = backoff(waiting.failures);
            waiting.failures = waiting.failures.saturating_add(1);
            let latest = now + UNSCHEDULABLE_WAIT;
            waiting.due = Some(Due { earliest: now + backoff, latest, woken: false });
        }
    }

    /// Something changed that may make room: everything that waits is tried again after its back-off.
    pub fn wake(&mut self) {
        for due in self.pods.values_mut().filter_map(|w| w.due.as_mut()) {
            due.woken = true;
        }
    }

    /// When [`Self::promote`] has something to do without a change.
    pub fn next_due(&self) -> Option<Instant> {
        self.pods.values().filter_map(|w| w.due.map(Due::at)).min()
    }
}

impl Due {
    fn at(self) -> Instant {
        if self.woken { self.earliest } else { self.latest }
    }
}

fn backoff(failures: u32) -> Duration {
    BACKOFF.0.saturating_mul(2u32.saturating_pow(failures)).min(BACKOFF.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("default", name)
    }

    #[test]
    fn priority_then_age_decide() {
        let mut queue = Queue::default();
        for (name, priority) in [("a", 0), ("b", 10), ("c", 0), ("d", 10)] {
            queue.add(key(name), priority);
        }
        queue.remove(&key("d"));
        let order: Vec<String> = std::iter::from_fn(|| queue.pop()).map(|k| k.name).collect();
        assert_eq!(order, ["b", "a", "c"]);
    }

    #[test]
    fn a_failed_pod_waits_for_a_change_and_its_backoff() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let at = |queue: &mut Queue, time| {
            queue.promote(time);
            queue.pop()
        };
        queue.add(key("a"), 0);
        assert_eq!(queue.pop(), Some(key("a")));
        queue.failed(&key("a"), now);
        queue.add(key("a"), 0);
        assert_eq!(at(&mut queue, now + BACKOFF.0 * 2), None, "nothing changed");
        queue.wake();
        assert_eq!(at(&mut queue, now), None, "its back-off is not over");
        assert_eq!(queue.next_due(), Some(now + BACKOFF.0));
        assert_eq!(at(&mut queue, now + BACKOFF.0), Some(key("a")));
        queue.failed(&key("a"), now);
        assert_eq!(queue.next_due(), Some(now + UNSCHEDULABLE_WAIT));
        queue.wake();
        assert_eq!(queue.next_due(), Some(now + BACKOFF.0 * 2));
    }
}
