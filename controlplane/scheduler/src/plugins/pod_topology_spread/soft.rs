//! The score: `whenUnsatisfiable: ScheduleAnyway`, or the defaults for pods without constraints.

use super::constraint::{Constraint, HOSTNAME, constraints, defaults, has_all_keys};
use crate::node::NodeState;
use crate::plugins::Rate;
use crate::snapshot::Snapshot;
use coracle_client::facts::PodFacts;
use std::collections::HashMap;

/// The raw score of a node that lacks a topology key; others are never negative.
const IGNORED: i64 = -1;

/// One constraint and how its pods are spread over the domains of the nodes to choose from.
struct Spread<'a> {
    constraint: Constraint<'a>,
    /// `None` where every node is its own domain: pods are then counted when the node is scored.
    counts: Option<HashMap<&'a str, i64>>,
    /// Constraints with many domains would weigh little without it, for each then holds few pods.
    weight: f64,
}

/// More pods in the node's domains make a higher raw score; [`normalise`] turns it round.
pub fn score<'a>(pod: &'a PodFacts, snapshot: &'a Snapshot<'a>, feasible: &'a [&'a NodeState]) -> Option<Rate<'a>> {
    // Defaults make do with the labels there are; the pod's own constraints want all of them.
    let own = !pod.constraints.topology_spread.is_empty();
    let constraints = if own { constraints(pod, "ScheduleAnyway") } else { defaults(pod) };
    if constraints.is_empty() {
        return None;
    }
    let eligible = |nodes: &[&'a NodeState]| -> Vec<&'a NodeState> {
        nodes.iter().copied().filter(|node| !own || has_all_keys(node, &constraints)).collect()
    };
    let (candidates, all) = (eligible(feasible), eligible(&snapshot.nodes));
    let spreads: Vec<_> = constraints.into_iter().map(|c| Spread::of(c, &candidates, &all)).collect();
    Some(Box::new(move |node| {
        if own && spreads.iter().any(|spread| spread.constraint.value(node).is_none()) {
            return IGNORED;
        }
        spreads.iter().filter_map(|spread| spread.rate(node)).sum::<f64>().round() as i64
    }))
}

/// The fewest pods become 100. Nodes that lack a topology key become 0.
pub fn normalise(scores: &mut [i64]) {
    let known = || scores.iter().copied().filter(|score| *score != IGNORED);
    let (fewest, most) = (known().min().unwrap_or(0), known().max().unwrap_or(0));
    for score in scores {
        *score = match *score {
            IGNORED => 0,
            _ if most == 0 => 100,
            raw => 100 * (most + fewest - raw) / most,
        };
    }
}

impl<'a> Spread<'a> {
    fn of(constraint: Constraint<'a>, candidates: &[&'a NodeState], all: &[&'a NodeState]) -> Self {
        if constraint.key == HOSTNAME {
            return Self { constraint, counts: None, weight: weight(candidates.len()) };
        }
        let mut counts: HashMap<&str, i64> =
            candidates.iter().filter_map(|node| Some((constraint.value(node)?, 0))).collect();
        for &node in all {
            if let Some(count) = constraint.value(node).and_then(|value| counts.get_mut(value))
                && constraint.covers(node)
            {
                *count += constraint.count(node);
            }
        }
        // Together, nodes without the label are one more domain.
        let unlabelled = candidates.iter().any(|node| constraint.value(node).is_none());
        let weight = weight(counts.len() + usize::from(unlabelled));
        Self { constraint, counts: Some(counts), weight }
    }

    /// `None` where the node lacks the topology key.
    fn rate(&self, node: &NodeState) -> Option<f64> {
        let value = self.constraint.value(node)?;
        let pods = match &self.counts {
            Some(counts) => counts.get(value).copied().unwrap_or(0),
            None => self.constraint.count(node),
        };
        // A higher `maxSkew` evens small differences out, for it is added on every node alike.
        Some(pods as f64 * self.weight + (self.constraint.max_skew - 1) as f64)
    }
}

fn weight(domains: usize) -> f64 {
    ((domains + 2) as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{labelled_node, labelled_pod, pod_from};
    use crate::world::World;
    use serde_json::{Value, json};

    #[test]
    fn domains_with_fewer_pods_score_higher() {
        let mut world = World::default();
        for (name, zone) in [("a", "1"), ("b", "1"), ("c", "2")] {
            world.set_node(labelled_node(name, json!({"zone": zone, HOSTNAME: name})));
        }
        world.set_node(labelled_node("d", json!({HOSTNAME: "d"})));
        for (name, node) in [("1", "a"), ("2", "a"), ("3", "c")] {
            world.assume(labelled_pod("default", name, json!({"app": "web"}), json!({})), node);
        }
        let snapshot = world.snapshot();
        let constraint = |key: &str, skew: i64| {
            json!({"maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway",
                   "labelSelector": {"matchLabels": {"app": "web"}}})
        };
        let table: [(Value, [i64; 4], [i64; 4]); 4] = [
            // Two zones: ln 4 = 1.386 per pod.
            (json!([constraint("zone", 1)]), [3, 3, 1, IGNORED], [33, 33, 100, 0]),
            (json!([constraint("zone", 5)]), [7, 7, 5, IGNORED], [71, 71, 100, 0]),
            // Four nodes: ln 6 = 1.792 per pod.
            (json!([constraint(HOSTNAME, 1)]), [4, 0, 2, 0], [0, 100, 50, 100]),
            // Three nodes have both keys: ln 5 = 1.609 per pod of the node.
            (json!([constraint("zone", 1), constraint(HOSTNAME, 1)]), [6, 3, 3, IGNORED], [50, 100, 100, 0]),
        ];
        for (constraints, raw, normal) in table {
            let spec = json!({"topologySpreadConstraints": constraints});
            let pod = labelled_pod("default", "p", json!({"app": "web"}), spec);
            let rate = score(&pod, &snapshot, &snapshot.nodes).expect("a constraint");
            let mut scores: Vec<i64> = snapshot.nodes.iter().map(|node| rate(node)).collect();
            assert_eq!(scores, raw, "{constraints}");
            normalise(&mut scores);
            assert_eq!(scores, normal, "{constraints}");
        }
    }

    #[test]
    fn replicas_without_constraints_are_spread_too() {
        let mut world = World::default();
        for name in ["a", "b", "c"] {
            world.set_node(labelled_node(name, json!({HOSTNAME: name})));
        }
        let owned = |name: &str, owner: &str, kind: &str, more: Value| {
            let owner = json!({"kind": kind, "name": owner, "uid": owner, "controller": true});
            let mut meta = json!({"name": name, "namespace": "default", "uid": name, "ownerReferences": [owner]});
            for (key, value) in more.as_object().into_iter().flatten() {
                meta[key] = value.clone();
            }
            pod_from(json!({"metadata": meta, "spec": {}}))
        };
        let leaving = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        for (pod, node) in [
            (owned("1", "web", "ReplicaSet", json!({})), "a"),
            (owned("2", "web", "ReplicaSet", json!({})), "a"),
            (owned("3", "web", "ReplicaSet", json!({})), "b"),
            (owned("4", "web", "ReplicaSet", leaving), "c"),
            (owned("5", "db", "ReplicaSet", json!({})), "c"),
        ] {
            world.assume(pod, node);
        }
        let table = [
            // Three nodes: ln 5 = 1.609 per pod, and 2 for the skew.
            (owned("p", "web", "ReplicaSet", json!({})), Some(vec![5, 4, 2])),
            (owned("p", "new", "StatefulSet", json!({})), Some(vec![2, 2, 2])),
            (owned("p", "web", "Job", json!({})), None),
        ];
        let scores = |world: &World, pod: &PodFacts| {
            let snapshot = world.snapshot();
            let rate = score(pod, &snapshot, &snapshot.nodes)?;
            Some(snapshot.nodes.iter().map(|node| rate(node)).collect::<Vec<i64>>())
        };
        for (pod, expected) in table {
            assert_eq!(scores(&world, &pod), expected, "{:?}", pod.meta.owners);
        }
        world.remove_pod("1");
        world.remove_pod("2");
        let web = owned("p", "web", "ReplicaSet", json!({}));
        assert_eq!(scores(&world, &web), Some(vec![2, 4, 2]));
    }

    #[test]
    fn where_no_pod_is_all_are_equally_good() {
        let mut scores = [0, IGNORED, 0];
        normalise(&mut scores);
        assert_eq!(scores, [100, 0, 100]);
    }
}
