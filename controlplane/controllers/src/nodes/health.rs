//! Whether a node is heard of, and what its conditions become when it is not. Pure.
//!
//! Times in leases and heartbeats are the node's own; only that they change counts, so its clock may be wrong.

use crate::limits::{EVICTION_INTERVAL, LARGE_CLUSTER, SLOW_EVICTION_INTERVAL};
use coracle_proto::{Tree, time};
use jiff::Timestamp;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// The last sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Health {
    /// When we noticed it, on a clock that never jumps: a corrected time of day must not silence all nodes at once.
    heard: Instant,
    sign: Sign,
}

/// What changes with every sign of life: the lease's time and the newest heartbeat.
pub(super) type Sign = (Option<Timestamp>, Option<Timestamp>);

impl Health {
    /// A node seen for the first time (by this process) gets the whole grace period.
    pub(super) fn hear(before: Option<&Self>, sign: Sign, now: Instant) -> Self {
        match before.filter(|before| before.sign == sign) {
            Some(before) => before.clone(),
            None => Self { heard: now, sign },
        }
    }

    /// How long until it counts as silent; zero once it does.
    pub(super) fn left(&self, grace: Duration, now: Instant) -> Duration {
        grace.saturating_sub(now.saturating_duration_since(self.heard))
    }
}

const CONDITIONS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// The conditions of a silent node; `None` if they say so already.
pub(super) fn unknown(conditions: &[Tree], created: Timestamp, now: Timestamp) -> Option<Vec<Tree>> {
    let mut list = conditions.to_vec();
    for kind in CONDITIONS {
        match list.iter_mut().find(|c| c["type"] == kind) {
            Some(condition) if condition["status"] == "Unknown" => {}
            Some(condition) => {
                condition["status"] = "Unknown".into();
                condition["reason"] = "NodeStatusUnknown".into();
                condition["message"] = "Kubelet stopped posting node status.".into();
                condition["lastTransitionTime"] = time::render(now).into();
            }
            None => list.push(json!({
                "type": kind, "status": "Unknown", "reason": "NodeStatusNeverUpdated",
                "message": "Kubelet never posted node status.",
                "lastHeartbeatTime": time::render(created), "lastTransitionTime": time::render(now),
            })),
        }
    }
    (list != conditions).then_some(list)
}

/// How long to wait between emptying one node and the next; `None`: do not. When too many are gone at once, the fault
/// is more likely between them and us.
/// <https://kubernetes.io/docs/concepts/architecture/nodes/#rate-limits-on-eviction>
pub(super) fn eviction_interval(ready: usize, unready: usize) -> Option<Duration> {
    let all = ready + unready;
    if ready == 0 {
        return None;
    }
    // More than 55 % of them, and more than two.
    if unready > 2 && unready * 100 >= all * 55 {
        return (all > LARGE_CLUSTER).then_some(SLOW_EVICTION_INTERVAL);
    }
    Some(EVICTION_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + seconds).expect("in range")
    }

    #[test]
    fn only_change_is_a_sign_of_life() {
        let (grace, start) = (Duration::from_secs(40), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let left = |health: &Health, seconds| health.left(grace, after(seconds)).as_secs();
        let first = Health::hear(None, (Some(at(-9000)), None), after(0));
        assert_eq!(left(&first, 10), 30);
        let same = Health::hear(Some(&first), (Some(at(-9000)), None), after(39));
        assert_eq!(left(&same, 40), 0);
        let renewed = Health::hear(Some(&same), (Some(at(-8990)), None), after(50));
        assert_eq!(left(&renewed, 60), 30);
        let heartbeat = Health::hear(Some(&renewed), (Some(at(-8990)), Some(at(5))), after(80));
        assert_eq!(left(&heartbeat, 80), 40);
    }

    #[test]
    fn silence_makes_conditions_unknown_once() {
        let ready = json!({"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": "x"});
        let other = json!({"type": "NetworkUnavailable", "status": "False"});
        let list = unknown(&[ready, other.clone()], at(0), at(60)).expect("a change");
        assert_eq!(list.len(), 5);
        assert_eq!(
            (&list[0]["reason"], &list[0]["message"]),
            (&json!("NodeStatusUnknown"), &json!("Kubelet stopped posting node status."))
        );
        assert_eq!((&list[0]["lastHeartbeatTime"], &list[1]), (&json!("x"), &other));
        assert_eq!(list[2]["reason"], "NodeStatusNeverUpdated");
        assert_eq!(unknown(&list, at(0), at(90)), None);
    }

    #[test]
    fn evictions_slow_down_and_stop_as_more_nodes_are_gone() {
        let table = [
            (9, 1, Some(EVICTION_INTERVAL)),
            (1, 2, Some(EVICTION_INTERVAL)),
            (2, 3, None),
            (40, 60, Some(SLOW_EVICTION_INTERVAL)),
            (0, 1, None),
            (0, 100, None),
        ];
        for (ready, unready, want) in table {
            assert_eq!(eviction_interval(ready, unready), want, "{ready} ready, {unready} not");
        }
    }
}
