//! What a pod requests must be free on the node; of those where it is, the emptier and the more even are better.

use super::Rate;
use crate::explanation::Refusal;
use crate::node::NodeState;
use crate::snapshot::Snapshot;
use coracle_client::facts::PodFacts;

pub fn check(pod: &PodFacts, node: &NodeState) -> Result<(), Refusal> {
    let (has, taken, wants) = (&node.facts.allocatable, &node.requested, &pod.requests);
    let mut refusal = Refusal { reasons: Vec::new(), unresolvable: false };
    if taken.pods + 1 > has.pods {
        refusal.reasons.push("Too many pods".into());
    }
    let mut need = |name: &str, wants: i64, has: i64, taken: i64| {
        if wants > 0 && wants > has - taken {
            refusal.reasons.push(format!("Insufficient {name}"));
            refusal.unresolvable |= wants > has;
        }
    };
    need("cpu", wants.milli_cpu, has.milli_cpu, taken.milli_cpu);
    need("memory", wants.memory, has.memory, taken.memory);
    need("ephemeral-storage", wants.ephemeral_storage, has.ephemeral_storage, taken.ephemeral_storage);
    for (name, amount) in &wants.other {
        need(name, *amount, has.other(name), taken.other(name));
    }
    if refusal.reasons.is_empty() { Ok(()) } else { Err(refusal) }
}

/// CPU and memory: (asked for, allocatable). Resources the node does not have are left out.
fn amounts(node: &NodeState, cpu: i64, memory: i64) -> impl Iterator<Item = (i64, i64)> {
    let has = &node.facts.allocatable;
    [(cpu, has.milli_cpu), (memory, has.memory)].into_iter().filter(|(_, has)| *has > 0)
}

/// 100 for an empty node, 0 for a full one: the mean over CPU and memory. Containers that name no amount count some.
pub fn least_allocated(pod: &PodFacts, node: &NodeState) -> i64 {
    let free = |(asked, has): (i64, i64)| if asked > has { 0 } else { (has - asked) * 100 / has };
    let amounts = amounts(node, node.scored.0 + pod.scored.0, node.scored.1 + pod.scored.1);
    let (sum, count) = amounts.map(free).fold((0, 0), |(sum, count), share| (sum + share, count + 1));
    if count == 0 { 0 } else { sum / count }
}

/// A pod that asks for nothing leaves every node as even as it is.
pub fn balance<'a>(pod: &'a PodFacts, _: &'a Snapshot<'a>, _: &'a [&'a NodeState]) -> Option<Rate<'a>> {
    let asks = pod.requests.milli_cpu > 0 || pod.requests.memory > 0;
    asks.then(|| Box::new(move |node: &NodeState| balanced(pod, node)) as Rate<'a>)
}

/// 100 where CPU and memory would be equally full, less the further they are apart. Only what is really asked for counts.
fn balanced(pod: &PodFacts, node: &NodeState) -> i64 {
    let (taken, wants) = (&node.requested, &pod.requests);
    let mut shares = amounts(node, taken.milli_cpu + wants.milli_cpu, taken.memory + wants.memory)
        .map(|(asked, has)| (asked as f64 / has as f64).min(1.0));
    // For two resources the standard deviation is half their distance.
    let deviation = match (shares.next(), shares.next()) {
        (Some(cpu), Some(memory)) => (cpu - memory).abs() / 2.0,
        _ => 0.0,
    };
    ((1.0 - deviation) * 100.0) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{node, pod};
    use crate::world::World;
    use serde_json::{Value, json};

    fn sized(requests: Value) -> std::sync::Arc<PodFacts> {
        pod("p", json!({"containers": [{"resources": {"requests": requests}}]}))
    }

    #[test]
    fn what_is_not_free_is_named() {
        let mut node =
            NodeState::new(node("n", json!({}), json!({"cpu": "2", "memory": "1Gi", "pods": "2", "x.io/gpu": "1"})));
        node.add(pod("q", json!({"containers": [{"resources": {"requests": {"cpu": "1500m"}}}]})));
        let table: [(Value, &[&str], bool); 6] = [
            (json!({"cpu": "500m"}), &[], false),
            (json!({"cpu": "501m"}), &["Insufficient cpu"], false),
            (json!({"cpu": "3"}), &["Insufficient cpu"], true),
            (json!({"cpu": "1", "memory": "1025Mi"}), &["Insufficient cpu", "Insufficient memory"], true),
            (json!({"x.io/gpu": "1"}), &[], false),
            (json!({"x.io/gpu": "2"}), &["Insufficient x.io/gpu"], true),
        ];
        for (requests, reasons, unresolvable) in table {
            let refusal = check(&sized(requests.clone()), &node).err();
            let expected = (!reasons.is_empty())
                .then(|| Refusal { reasons: reasons.iter().map(|r| (*r).into()).collect(), unresolvable });
            assert_eq!(refusal, expected, "{requests}");
        }
        node.add(pod("r", json!({"containers": [{}]})));
        assert_eq!(check(&sized(json!({})), &node), Err(Refusal::resolvable("Too many pods")));
        node.remove("r");
        assert_eq!(check(&sized(json!({})), &node), Ok(()));
    }

    #[test]
    fn even_use_scores_higher() {
        let node = NodeState::new(node("n", json!({}), json!({"cpu": "1", "memory": "1000Mi", "pods": "9"})));
        let even = sized(json!({"cpu": "500m", "memory": "500Mi"}));
        let uneven = sized(json!({"cpu": "900m", "memory": "100Mi"}));
        assert_eq!(balanced(&even, &node), 100);
        assert_eq!(balanced(&uneven, &node), 60);
        assert_eq!(least_allocated(&even, &node), 50);
    }

    #[test]
    fn pods_that_ask_for_nothing_have_no_say_in_balance() {
        let world = World::default();
        let snapshot = world.snapshot();
        assert!(balance(&sized(json!({})), &snapshot, &[]).is_none());
        assert!(balance(&sized(json!({"memory": "1"})), &snapshot, &[]).is_some());
    }
}
