//! The filter: `whenUnsatisfiable: DoNotSchedule`.

use super::constraint::{Constraint, constraints, has_all_keys};
use crate::explanation::Refusal;
use crate::node::NodeState;
use crate::plugins::Check;
use crate::snapshot::Snapshot;
use coracle_client::facts::PodFacts;
use std::collections::HashMap;

/// One constraint and how its pods are spread now.
struct Spread<'a> {
    constraint: Constraint<'a>,
    /// Pods by the value of the topology key.
    counts: HashMap<&'a str, i64>,
    /// In the domain that has the fewest; 0 while there are fewer domains than `minDomains`.
    fewest: i64,
    /// 1 if the pod itself will count.
    own: i64,
}

pub fn filter<'a>(pod: &'a PodFacts, snapshot: &'a Snapshot<'a>) -> Option<Check<'a>> {
    let constraints = constraints(pod, "DoNotSchedule");
    if constraints.is_empty() {
        return None;
    }
    let eligible: Vec<_> = snapshot.nodes.iter().copied().filter(|n| has_all_keys(n, &constraints)).collect();
    let spreads: Vec<_> = constraints.into_iter().map(|c| Spread::of(c, &eligible)).collect();
    Some(Box::new(move |node| spreads.iter().try_for_each(|spread| spread.check(node))))
}

impl<'a> Spread<'a> {
    fn of(constraint: Constraint<'a>, nodes: &[&'a NodeState]) -> Self {
        let mut counts = HashMap::new();
        for &node in nodes.iter().filter(|node| constraint.covers(node)) {
            if let Some(value) = constraint.value(node) {
                *counts.entry(value).or_insert(0) += constraint.count(node);
            }
        }
        let enough = counts.len() >= constraint.min_domains;
        let fewest = counts.values().copied().min().filter(|_| enough).unwrap_or(0);
        let own = i64::from(constraint.selects_itself());
        Self { constraint, counts, fewest, own }
    }

    fn check(&self, node: &NodeState) -> Result<(), Refusal> {
        let reason = "node(s) didn't match pod topology spread constraints";
        let Some(value) = self.constraint.value(node) else {
            return Err(Refusal::unresolvable(format!("{reason} (missing required label)")));
        };
        let there = self.counts.get(value).copied().unwrap_or(0);
        let fits = there + self.own - self.fewest <= self.constraint.max_skew;
        if fits { Ok(()) } else { Err(Refusal::resolvable(reason)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{labelled_node, labelled_pod, node_from, verdicts};
    use crate::world::World;
    use serde_json::{Value, json};

    /// Zone 1: a (2 web), b (1 web). Zone 2: c (1 web), d (none, tainted). e has no zone.
    fn world() -> World {
        let mut world = World::default();
        for (name, zone) in [("a", "1"), ("b", "1"), ("c", "2")] {
            world.set_node(labelled_node(name, json!({"zone": zone, "host": name})));
        }
        world.set_node(node_from(json!({
            "metadata": {"name": "d", "labels": {"zone": "2", "host": "d"}},
            "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]},
        })));
        world.set_node(labelled_node("e", json!({"host": "e"})));
        for (name, node) in [("1", "a"), ("2", "a"), ("3", "b"), ("4", "c")] {
            let labels = json!({"app": "web", "version": name});
            world.assume(labelled_pod("default", name, labels, json!({})), node);
        }
        world.assume(labelled_pod("elsewhere", "x", json!({"app": "web"}), json!({})), "c");
        world
    }

    fn constraint(changes: Value) -> Value {
        let mut tree = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
                              "labelSelector": {"matchLabels": {"app": "web"}}});
        for (key, value) in changes.as_object().expect("an object") {
            tree[key] = value.clone();
        }
        tree
    }

    #[test]
    fn skew_decides() {
        let (world, web, db) = (world(), json!({"app": "web", "version": "1"}), json!({"app": "db"}));
        let snapshot = world.snapshot();
        let skew = "node(s) didn't match pod topology spread constraints";
        let label = "node(s) didn't match pod topology spread constraints (missing required label)";
        let near_c = json!({"key": "host", "operator": "In", "values": ["a", "b"]});
        let only_ab = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [{"matchExpressions": [near_c]}]}}});
        let none = Value::Null;
        let table: [(&Value, Value, &Value, [&str; 5]); 12] = [
            (&web, json!({}), &none, [skew, skew, "", "", label]),
            (&web, json!({"maxSkew": 3}), &none, ["", "", "", "", label]),
            // It does not count itself, but the others are two apart already.
            (&db, json!({}), &none, [skew, skew, "", "", label]),
            (&db, json!({"maxSkew": 2}), &none, ["", "", "", "", label]),
            (&web, json!({"topologyKey": "host"}), &none, [skew, skew, skew, "", ""]),
            // The tainted node is no domain any more, but it still holds nobody; e does as well.
            (&web, json!({"topologyKey": "host", "nodeTaintsPolicy": "Honor"}), &none, [skew, skew, skew, "", ""]),
            (&web, json!({"minDomains": 3}), &none, [skew, skew, skew, skew, label]),
            (&web, json!({"minDomains": 2}), &none, [skew, skew, "", "", label]),
            // Only zone 1 has nodes the pod could use: nothing to be uneven with.
            (&web, json!({}), &only_ab, ["", "", "", "", label]),
            (&web, json!({"nodeAffinityPolicy": "Ignore"}), &only_ab, [skew, skew, "", "", label]),
            (&web, json!({"matchLabelKeys": ["version"]}), &none, [skew, skew, "", "", label]),
            (&web, json!({"labelSelector": {}}), &none, ["", "", "", "", label]),
        ];
        for (labels, changes, affinity, expected) in table {
            let spec = json!({"topologySpreadConstraints": [constraint(changes.clone())], "affinity": affinity});
            let pod = labelled_pod("default", "p", labels.clone(), spec);
            let found = verdicts(filter(&pod, &snapshot), &snapshot);
            let expected = expected.map(|reason| {
                let unresolvable = reason == label;
                (!reason.is_empty()).then(|| Refusal { reasons: vec![reason.into()], unresolvable })
            });
            assert_eq!(found, expected, "{labels} {changes} {affinity}");
        }
    }

    #[test]
    fn only_taints_policy_hides_tainted_nodes() {
        let mut world = world();
        world.remove_node("e");
        let labels = json!({"app": "web"});
        let tree = |policy: &str| {
            let constraint = constraint(json!({"topologyKey": "host", "nodeTaintsPolicy": policy}));
            labelled_pod("default", "p", labels.clone(), json!({"topologySpreadConstraints": [constraint]}))
        };
        let fits = |policy| {
            let (pod, snapshot) = (tree(policy), world.snapshot());
            verdicts(filter(&pod, &snapshot), &snapshot).iter().map(Option::is_none).collect::<Vec<bool>>()
        };
        assert_eq!(fits("Ignore"), [false, false, false, true]);
        assert_eq!(fits("Honor"), [false, true, true, true]);
    }

    #[test]
    fn soft_constraints_filter_nothing() {
        let world = world();
        let soft = constraint(json!({"whenUnsatisfiable": "ScheduleAnyway"}));
        let pod = labelled_pod("default", "p", json!({"app": "web"}), json!({"topologySpreadConstraints": [soft]}));
        assert!(filter(&pod, &world.snapshot()).is_none());
    }
}
