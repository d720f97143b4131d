//! One scheduling cycle: a pure function from a pod and a snapshot to a placement, or to the reasons why there is none.

use crate::explanation::{Explanation, NodeVerdict};
use crate::node::NodeState;
use crate::plugins::{FILTERS, SCORES};
use crate::snapshot::Snapshot;
use coracle_client::facts::PodFacts;

/// What a cycle came to. The explanation holds every node's verdict either way.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// `None`: no node fits.
    pub node: Option<String>,
    pub explanation: Explanation,
}

/// Filters every node, scores those that fit, and takes the best. Of equally good ones `chance` picks: any number,
/// different from cycle to cycle.
pub fn schedule(pod: &PodFacts, snapshot: &Snapshot<'_>, chance: u64) -> Outcome {
    let mut explanation = Explanation::default();
    let feasible = filter(pod, snapshot, &mut explanation);
    if feasible.is_empty() {
        let mut pods = snapshot.nodes.iter().flat_map(|node| node.pods.values());
        explanation.no_victims = pods.all(|other| other.priority >= pod.priority);
        return Outcome { node: None, explanation };
    }
    let totals = score(pod, snapshot, &feasible, &mut explanation);
    let node = best(&totals, chance).map(|at| feasible[at].name().to_owned());
    Outcome { node, explanation }
}

/// The nodes that every filter lets pass. The first that refuses a node speaks for it, as upstream has it.
fn filter<'a>(pod: &PodFacts, snapshot: &Snapshot<'a>, explanation: &mut Explanation) -> Vec<&'a NodeState> {
    let prepared = FILTERS.iter().filter_map(|filter| Some((filter.name, (filter.prepare)(pod, snapshot)?)));
    let checks: Vec<_> = prepared.collect();
    let mut feasible = Vec::new();
    for &node in &snapshot.nodes {
        let refusal = checks.iter().find_map(|(filter, check)| Some((*filter, check(node).err()?)));
        match refusal {
            None => feasible.push(node),
            Some((filter, refusal)) => {
                explanation.verdicts.push((node.facts.meta.key.clone(), NodeVerdict::Refused { filter, refusal }));
            }
        }
    }
    feasible
}

/// Each feasible node's weighted total; the parts go into the explanation.
fn score(pod: &PodFacts, snapshot: &Snapshot<'_>, feasible: &[&NodeState], explanation: &mut Explanation) -> Vec<i64> {
    let mut parts = vec![[0; SCORES.len()]; feasible.len()];
    for (row, plugin) in SCORES.iter().enumerate() {
        let Some(rate) = (plugin.prepare)(pod, snapshot, feasible) else { continue };
        let mut raw: Vec<i64> = feasible.iter().map(|node| rate(node)).collect();
        (plugin.normalise)(&mut raw);
        for (parts, value) in parts.iter_mut().zip(raw) {
            parts[row] = value * plugin.weight;
        }
    }
    let totals: Vec<i64> = parts.iter().map(|parts| parts.iter().sum()).collect();
    for ((node, parts), &total) in feasible.iter().zip(parts).zip(&totals) {
        explanation.verdicts.push((node.facts.meta.key.clone(), NodeVerdict::Scored { total, parts }));
    }
    totals
}

/// The place of one of the highest totals.
fn best(totals: &[i64], chance: u64) -> Option<usize> {
    let highest = totals.iter().max()?;
    let top: Vec<usize> = (0..totals.len()).filter(|&at| totals[at] == *highest).collect();
    Some(top[(chance % top.len() as u64) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{node, pod};
    use crate::world::World;
    use coracle_client::facts::NodeFacts;
    use serde_json::json;
    use std::sync::Arc;

    fn world(nodes: impl IntoIterator<Item = Arc<NodeFacts>>) -> World {
        let mut world = World::default();
        for node in nodes {
            world.set_node(node);
        }
        world
    }

    #[test]
    fn the_emptier_node_wins() {
        let of = |name| node(name, json!({}), json!({"cpu": "4", "memory": "4Gi", "pods": "10"}));
        let mut world = world([of("full"), of("empty")]);
        world.assume(pod("other", json!({"containers": [{"resources": {"requests": {"cpu": "3"}}}]})), "full");
        let web = pod("web", json!({"containers": [{"resources": {"requests": {"cpu": "500m"}}}]}));
        let outcome = schedule(&web, &world.snapshot(), 0);
        assert_eq!(outcome.node.as_deref(), Some("empty"));
        assert_eq!(outcome.explanation.verdicts.len(), 2);
    }

    #[test]
    fn chance_spreads_over_equals() {
        let of = |name| node(name, json!({}), json!({"cpu": "4", "memory": "4Gi", "pods": "10"}));
        let world = world([of("a"), of("b")]);
        let web = pod("web", json!({"containers": [{}]}));
        assert_eq!(schedule(&web, &world.snapshot(), 0).node.as_deref(), Some("a"));
        assert_eq!(schedule(&web, &world.snapshot(), 1).node.as_deref(), Some("b"));
    }

    #[test]
    fn refusals_are_counted_in_upstreams_words() {
        let small = node("small", json!({}), json!({"cpu": "1", "memory": "1Gi", "pods": "10"}));
        let cordoned = node("cordoned", json!({"unschedulable": true}), json!({"cpu": "9", "pods": "10"}));
        let tainted = json!({"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]});
        let tainted = node("tainted", tainted, json!({"cpu": "9", "pods": "10"}));
        let web = pod("web", json!({"containers": [{"resources": {"requests": {"cpu": "2", "memory": "2Gi"}}}]}));
        let outcome = schedule(&web, &world([small, cordoned, tainted]).snapshot(), 0);
        assert_eq!(outcome.node, None);
        assert_eq!(
            outcome.explanation.message(),
            "0/3 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 node(s) had untolerated taint \
             {gpu: yes}, 1 node(s) were unschedulable. preemption: 0/3 nodes are available: 3 Preemption is not \
             helpful for scheduling."
        );
    }

    #[test]
    fn without_nodes_it_says_so() {
        let outcome = schedule(&pod("web", json!({"containers": [{}]})), &World::default().snapshot(), 0);
        assert_eq!(outcome.explanation.message(), "no nodes available to schedule pods");
    }
}
