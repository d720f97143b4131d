//! The score: preferred terms of the pod and of the pods that run already, weighed per domain.

use super::term::{Term, preferred, required};
use crate::node::NodeState;
use crate::plugins::Rate;
use crate::plugins::topology::{Domain, domain, keys};
use crate::snapshot::Snapshot;
use coracle_client::facts::PodFacts;
use std::collections::HashMap;

/// What a required affinity of a running pod counts when it speaks of this one: upstream's `hardPodAffinityWeight`.
const REQUIRED_WEIGHT: i64 = 1;

pub fn score<'a>(pod: &'a PodFacts, snapshot: &'a Snapshot<'a>, _: &'a [&'a NodeState]) -> Option<Rate<'a>> {
    let weights = weights(pod, snapshot);
    let idle = weights.is_empty();
    let keys = keys(weights.keys().copied());
    let rate = move |node: &NodeState| {
        let domains = keys.iter().filter_map(|key| domain(node, key));
        domains.filter_map(|domain| weights.get(&domain)).sum()
    };
    (!idle).then(|| Box::new(rate) as Rate<'a>)
}

fn weights<'a>(pod: &'a PodFacts, snapshot: &'a Snapshot<'a>) -> HashMap<Domain<'a>, i64> {
    let wishes: Vec<_> = preferred(pod).collect();
    let mut weights = HashMap::new();
    let mut add = |term: &Term<'a>, weight: i64, node: &'a NodeState| {
        if let Some(domain) = term.domain(node) {
            *weights.entry(domain).or_insert(0) += weight;
        }
    };
    for &node in &snapshot.nodes {
        if !wishes.is_empty() {
            for other in node.pods.values() {
                for (term, weight) in wishes.iter().filter(|(term, _)| term.matches(other, snapshot)) {
                    add(term, *weight, node);
                }
            }
        }
        // What others wish of this pod counts as much as what it wishes of them.
        for other in node.with_terms.values() {
            let theirs = required(other).map(|term| (term, REQUIRED_WEIGHT)).chain(preferred(other));
            for (term, weight) in theirs.filter(|(term, _)| term.matches(pod, snapshot)) {
                add(&term, weight, node);
            }
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{labelled_node, labelled_pod};
    use crate::plugins::spread_to_hundred;
    use crate::world::World;
    use serde_json::{Value, json};

    fn wish(kind: &str, weight: i64, app: &str) -> Value {
        let term = json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": "zone"});
        let preferred = json!([{"weight": weight, "podAffinityTerm": term}]);
        json!({"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}})
    }

    #[test]
    fn wishes_of_both_sides_are_weighed_per_domain() {
        let mut world = World::default();
        for (name, zone) in [("a", "1"), ("b", "1"), ("c", "2")] {
            world.set_node(labelled_node(name, json!({"zone": zone})));
        }
        world.set_node(labelled_node("d", json!({})));
        world.assume(labelled_pod("default", "db", json!({"app": "db"}), json!({})), "a");
        let term = json!({"labelSelector": {"matchLabels": {"app": "guest"}}, "topologyKey": "zone"});
        let needs = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}});
        world.assume(labelled_pod("default", "host", json!({"app": "host"}), needs), "c");
        world.assume(labelled_pod("default", "hater", json!({}), wish("podAntiAffinity", 7, "rival")), "a");
        let snapshot = world.snapshot();
        let table: [(&str, Value, Option<[i64; 4]>); 5] = [
            ("web", json!({}), None),
            ("web", wish("podAffinity", 10, "db"), Some([10, 10, 0, 0])),
            ("web", wish("podAntiAffinity", 10, "db"), Some([-10, -10, 0, 0])),
            ("guest", json!({}), Some([0, 0, 1, 0])),
            ("rival", wish("podAffinity", 10, "db"), Some([3, 3, 0, 0])),
        ];
        for (app, spec, expected) in table {
            let pod = labelled_pod("default", "p", json!({"app": app}), spec.clone());
            let scores = score(&pod, &snapshot, &[])
                .map(|rate| snapshot.nodes.iter().map(|node| rate(node)).collect::<Vec<i64>>());
            assert_eq!(scores, expected.map(|e| e.to_vec()), "{app} {spec}");
        }
    }

    #[test]
    fn negative_scores_are_brought_up() {
        let mut scores = [-10, 0, 10];
        spread_to_hundred(&mut scores);
        assert_eq!(scores, [0, 50, 100]);
        let mut equal = [-3, -3];
        spread_to_hundred(&mut equal);
        assert_eq!(equal, [0, 0]);
    }
}
