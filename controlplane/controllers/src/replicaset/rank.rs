//! Which pod goes first when a ReplicaSet has too many.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#scaling-a-replicaset>

use coracle_client::PodFacts;
use coracle_client::facts::Phase;
use jiff::Timestamp;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

/// `pods` in the order of deletion. `related` are the pods that count for crowding, the same ones included.
///
/// Upstream compares the uid of two pods whose age falls into the same power of two before it compares restarts, which
/// is no order at all with three pods; here the uid comes last.
pub(super) fn sorted(pods: &[Arc<PodFacts>], related: &[Arc<PodFacts>], now: Timestamp) -> Vec<Arc<PodFacts>> {
    let mut crowd: HashMap<&str, usize> = HashMap::new();
    for pod in related {
        *crowd.entry(&pod.node_name).or_default() += 1;
    }
    let mut order = pods.to_vec();
    order.sort_by_cached_key(|pod| {
        let since = pod.ready_since.filter(|_| pod.ready);
        (
            !pod.node_name.is_empty(),
            phase(pod.phase),
            pod.ready,
            pod.deletion_cost,
            Reverse(crowd.get(&*pod.node_name).copied().unwrap_or(0)),
            since.map(|at| age(at, now)),
            Reverse(pod.restarts),
            age(pod.meta.created, now),
            pod.meta.uid.clone(),
        )
    });
    order
}

fn phase(phase: Phase) -> u8 {
    match phase {
        Phase::Pending => 0,
        Phase::Unknown => 1,
        Phase::Running | Phase::Succeeded | Phase::Failed => 2,
    }
}

/// The logarithm of an age: pods of about the same age are equals, younger ones go first. −1 for the future.
fn age(since: Timestamp, now: Timestamp) -> i64 {
    let nanos = now.as_nanosecond() - since.as_nanosecond();
    if nanos > 0 { i64::from(nanos.ilog2()) } else { -1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pod;
    use serde_json::{Value, json};

    const OLD: &str = "2026-01-01T00:00:00Z";
    const NEW: &str = "2026-01-01T09:59:00Z";

    struct Is {
        node: &'static str,
        phase: &'static str,
        ready: Option<&'static str>,
        cost: &'static str,
        restarts: i32,
        created: &'static str,
    }

    const PLAIN: Is = Is { node: "n1", phase: "Running", ready: Some(OLD), cost: "0", restarts: 0, created: OLD };

    fn make(name: &str, is: &Is) -> Arc<PodFacts> {
        let ready = is.ready.map(|at| json!({"type": "Ready", "status": "True", "lastTransitionTime": at}));
        pod(&json!({
            "metadata": {"name": name, "uid": name, "creationTimestamp": is.created,
                         "annotations": {"controller.kubernetes.io/pod-deletion-cost": is.cost}},
            "spec": {"nodeName": is.node},
            "status": {"phase": is.phase, "conditions": ready.into_iter().collect::<Value>(),
                       "containerStatuses": [{"restartCount": is.restarts}]},
        }))
    }

    #[test]
    fn each_rule_breaks_the_tie_of_those_before() {
        let table = [
            ("unassigned", Is { node: "", phase: "Pending", ready: None, ..PLAIN }),
            ("pending", Is { phase: "Pending", ready: None, cost: "9", ..PLAIN }),
            ("unknown", Is { phase: "Unknown", ready: None, ..PLAIN }),
            ("unready", Is { ready: None, cost: "5", ..PLAIN }),
            ("cheap", Is { cost: "-1", node: "n2", ..PLAIN }),
            ("new ready", Is { ready: Some(NEW), ..PLAIN }),
            ("restarted", Is { restarts: 3, ..PLAIN }),
            ("young", Is { created: NEW, ..PLAIN }),
            ("plain", PLAIN),
            ("alone", Is { node: "n3", restarts: 9, ready: Some(NEW), ..PLAIN }),
            ("dear", Is { cost: "1", ready: Some(NEW), ..PLAIN }),
        ];
        let want: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
        let mut pods: Vec<_> = table.iter().map(|(name, is)| make(name, is)).collect();
        let now = coracle_proto::time::parse("2026-01-01T10:00:00Z").expect("valid");
        for _ in 0..pods.len() {
            pods.rotate_left(1);
            let order = sorted(&pods, &pods, now);
            assert_eq!(order.iter().map(|p| p.meta.name()).collect::<Vec<_>>(), want);
        }
    }
}
