//! Which pod is next: by priority, then by age. Pods that found no node wait for a change, never less than their back-off.
//!
//! Pure: time comes in with every call.

use crate::limits::{BACKOFF, UNSCHEDULABLE_WAIT};
use coracle_client::facts::PodFacts;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Highest priority first, then first come first served.
type Rank = (Reverse<i32>, u64);

/// By UID: a pod that was deleted and made again under its name is another one.
#[derive(Default)]
pub struct Queue {
    pods: HashMap<Arc<str>, Waiting>,
    ready: BTreeMap<Rank, Arc<str>>,
    sequence: u64,
}

struct Waiting {
    /// As it was last heard of.
    pod: Arc<PodFacts>,
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
    /// Something changed since that may help.
    woken: bool,
}

impl Queue {
    /// A pod to schedule. One that is known already keeps its place and its back-off, but need not wait for the world
    /// to change if it has changed itself.
    pub fn add(&mut self, pod: Arc<PodFacts>) {
        if let Some(waiting) = self.pods.get_mut(&pod.meta.uid) {
            let differs = asks_differ(&waiting.pod, &pod);
            waiting.due.iter_mut().for_each(|due| due.woken |= differs);
            waiting.pod = pod;
            return;
        }
        self.sequence += 1;
        let (rank, uid) = ((Reverse(pod.priority), self.sequence), pod.meta.uid.clone());
        self.ready.insert(rank, uid.clone());
        self.pods.insert(uid, Waiting { pod, rank, failures: 0, due: None });
    }

    /// The pod is placed or gone: forget it.
    pub fn remove(&mut self, uid: &str) {
        if let Some(waiting) = self.pods.remove(uid) {
            self.ready.remove(&waiting.rank);
        }
    }

    /// Makes ready what has waited long enough.
    pub fn promote(&mut self, now: Instant) {
        for (uid, waiting) in &mut self.pods {
            if waiting.due.is_some_and(|due| due.at() <= now) {
                waiting.due = None;
                self.ready.insert(waiting.rank, uid.clone());
            }
        }
    }

    /// The next pod to try. It stays known until [`Self::remove`] or [`Self::failed`].
    pub fn pop(&mut self) -> Option<Arc<PodFacts>> {
        let (_, uid) = self.ready.pop_first()?;
        self.pods.get(&uid).map(|waiting| waiting.pod.clone())
    }

    /// No node fitted, or the binding was refused.
    pub fn failed(&mut self, uid: &str, now: Instant) {
        if let Some(waiting) = self.pods.get_mut(uid) {
            let backoff = backoff(waiting.failures);
            waiting.failures = waiting.failures.saturating_add(1);
            let latest = now + UNSCHEDULABLE_WAIT;
            waiting.due = Some(Due { earliest: now + backoff, latest, woken: false });
        }
    }

    /// Something changed that may help `whom`: of the pods that wait, those are tried again after their back-off.
    pub fn wake(&mut self, whom: impl Fn(&PodFacts) -> bool) {
        for waiting in self.pods.values_mut() {
            if let Some(due) = &mut waiting.due {
                due.woken = due.woken || whom(&waiting.pod);
            }
        }
    }

    /// When [`Self::promote`] has something to do without a change.
    pub fn next_due(&self) -> Option<Instant> {
        self.pods.values().filter_map(|w| w.due.map(Due::at)).min()
    }
}

/// Whether another answer may come of it. What the status says does not matter: the scheduler writes there itself.
fn asks_differ(old: &PodFacts, new: &PodFacts) -> bool {
    old.constraints != new.constraints
        || old.requests != new.requests
        || old.host_ports != new.host_ports
        || old.meta.labels != new.meta.labels
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
    use crate::fixtures::{labelled_pod, pod};
    use serde_json::json;

    fn names(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.pop()).map(|pod| pod.meta.name().to_owned()).collect()
    }

    #[test]
    fn priority_then_age_decide() {
        let mut queue = Queue::default();
        for (name, priority) in [("a", 0), ("b", 10), ("c", 0), ("d", 10)] {
            queue.add(pod(name, json!({"priority": priority})));
        }
        queue.remove("d");
        assert_eq!(names(&mut queue), ["b", "a", "c"]);
    }

    #[test]
    fn a_failed_pod_waits_for_a_change_and_its_backoff() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let at = |queue: &mut Queue, time| {
            queue.promote(time);
            names(queue)
        };
        queue.add(pod("a", json!({})));
        assert_eq!(names(&mut queue), ["a"]);
        queue.failed("a", now);
        queue.add(pod("a", json!({})));
        queue.wake(|_| false);
        assert!(at(&mut queue, now + BACKOFF.0 * 2).is_empty(), "nothing changed");
        queue.wake(|_| true);
        assert!(at(&mut queue, now).is_empty(), "its back-off is not over");
        assert_eq!(queue.next_due(), Some(now + BACKOFF.0));
        assert_eq!(at(&mut queue, now + BACKOFF.0), ["a"]);
        queue.failed("a", now);
        assert_eq!(queue.next_due(), Some(now + UNSCHEDULABLE_WAIT));
        queue.wake(|_| true);
        assert_eq!(queue.next_due(), Some(now + BACKOFF.0 * 2));
    }

    #[test]
    fn a_failed_pod_that_asks_for_something_else_is_tried_again() {
        let now = Instant::now();
        let before = json!({"containers": [{"resources": {"requests": {"cpu": "2"}}}]});
        let table = [
            (labelled_pod("default", "a", json!({}), before.clone()), UNSCHEDULABLE_WAIT),
            (labelled_pod("default", "a", json!({"x": "y"}), before.clone()), BACKOFF.0),
            (pod("a", json!({"containers": [{"resources": {"requests": {"cpu": "1"}}}]})), BACKOFF.0),
            (pod("a", json!({"containers": before["containers"], "tolerations": [{"operator": "Exists"}]})), BACKOFF.0),
        ];
        for (after, wait) in table {
            let mut queue = Queue::default();
            queue.add(pod("a", before.clone()));
            queue.pop();
            queue.failed("a", now);
            queue.add(after.clone());
            assert_eq!(queue.next_due(), Some(now + wait), "{after:?}");
        }
    }
}
