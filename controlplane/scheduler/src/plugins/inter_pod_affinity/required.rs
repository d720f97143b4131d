//! The filter: required terms of the pod, and required anti-affinity of the pods that run already.

use super::term::{Term, forbidden, required};
use crate::explanation::Refusal;
use crate::node::NodeState;
use crate::plugins::Check;
use crate::plugins::topology::{Domain, domain, keys};
use crate::snapshot::Snapshot;
use coracle_client::facts::PodFacts;
use std::collections::{BTreeSet, HashSet};

/// Built once per cycle; a domain is in a set when at least one pod there matters.
struct Rules<'a> {
    near: Vec<Term<'a>>,
    far: Vec<Term<'a>>,
    /// Where pods run that all of `near` speak of.
    with: HashSet<Domain<'a>>,
    /// Where a pod runs that one of `far` speaks of.
    against: HashSet<Domain<'a>>,
    /// Where a pod runs whose own anti-affinity speaks of this one.
    unwelcome: HashSet<Domain<'a>>,
    unwelcome_keys: BTreeSet<&'a str>,
    /// The pod matches its own `near`: where no pod does yet, it may be the first.
    may_be_first: bool,
}

pub fn filter<'a>(pod: &'a PodFacts, snapshot: &'a Snapshot<'a>) -> Option<Check<'a>> {
    let rules = Rules::of(pod, snapshot);
    let idle = rules.near.is_empty() && rules.far.is_empty() && rules.unwelcome.is_empty();
    (!idle).then(|| Box::new(move |node: &NodeState| rules.check(node)) as Check<'a>)
}

impl<'a> Rules<'a> {
    fn of(pod: &'a PodFacts, snapshot: &'a Snapshot<'a>) -> Self {
        let (near, far): (Vec<_>, Vec<_>) = (required(pod).collect(), forbidden(pod).collect());
        let (mut with, mut against, mut unwelcome) = (HashSet::new(), HashSet::new(), HashSet::new());
        for &node in &snapshot.nodes {
            for other in node.with_terms.values() {
                let terms = forbidden(other).filter(|term| term.matches(pod, snapshot));
                unwelcome.extend(terms.filter_map(|term| term.domain(node)));
            }
            if near.is_empty() && far.is_empty() {
                continue;
            }
            for other in node.pods.values() {
                if !near.is_empty() && near.iter().all(|term| term.matches(other, snapshot)) {
                    with.extend(near.iter().filter_map(|term| term.domain(node)));
                }
                let terms = far.iter().filter(|term| term.matches(other, snapshot));
                against.extend(terms.filter_map(|term| term.domain(node)));
            }
        }
        let may_be_first = with.is_empty() && near.iter().all(|term| term.matches(pod, snapshot));
        let unwelcome_keys = keys(unwelcome.iter().copied());
        Self { near, far, with, against, unwelcome, unwelcome_keys, may_be_first }
    }

    fn check(&self, node: &NodeState) -> Result<(), Refusal> {
        if !self.is_near(node) {
            return Err(Refusal::unresolvable("node(s) didn't match pod affinity rules"));
        }
        if self.far.iter().filter_map(|term| term.domain(node)).any(|domain| self.against.contains(&domain)) {
            return Err(Refusal::resolvable("node(s) didn't match pod anti-affinity rules"));
        }
        let mut domains = self.unwelcome_keys.iter().filter_map(|key| domain(node, key));
        if domains.any(|domain| self.unwelcome.contains(&domain)) {
            return Err(Refusal::resolvable("node(s) didn't satisfy existing pods anti-affinity rules"));
        }
        Ok(())
    }

    /// Even the first pod of its kind needs every topology key on its node.
    fn is_near(&self, node: &NodeState) -> bool {
        let near = |term: &Term<'a>| term.domain(node).is_some_and(|d| self.may_be_first || self.with.contains(&d));
        self.near.iter().all(near)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{labelled_node, labelled_pod, verdicts};
    use crate::world::World;
    use serde_json::{Value, json};

    const NEAR: &str = "node(s) didn't match pod affinity rules";
    const FAR: &str = "node(s) didn't match pod anti-affinity rules";
    const UNWELCOME: &str = "node(s) didn't satisfy existing pods anti-affinity rules";

    fn term(app: &str, key: &str) -> Value {
        json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key})
    }

    fn spec(kind: &str, terms: Value) -> Value {
        json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": terms}}})
    }

    /// Zone 1 has nodes a and b, zone 2 has c; d is in none. A db runs on a, a loner that shuns `app=shy` in its zone
    /// on c.
    fn world() -> World {
        let mut world = World::default();
        for (name, labels) in [
            ("a", json!({"zone": "1", "host": "a"})),
            ("b", json!({"zone": "1", "host": "b"})),
            ("c", json!({"zone": "2", "host": "c"})),
            ("d", json!({"host": "d"})),
        ] {
            world.set_node(labelled_node(name, labels));
        }
        world.assume(labelled_pod("default", "db", json!({"app": "db"}), json!({})), "a");
        let shuns = spec("podAntiAffinity", json!([term("shy", "zone")]));
        world.assume(labelled_pod("default", "loner", json!({"app": "loner"}), shuns), "c");
        world
    }

    #[test]
    fn required_terms_choose_nodes() {
        let world = world();
        let snapshot = world.snapshot();
        let near = |terms| spec("podAffinity", terms);
        let far = |terms| spec("podAntiAffinity", terms);
        let table: [(&str, Value, [&str; 4]); 11] = [
            ("web", json!({}), [""; 4]),
            ("web", near(json!([term("db", "zone")])), ["", "", NEAR, NEAR]),
            ("web", near(json!([term("db", "host")])), ["", NEAR, NEAR, NEAR]),
            ("web", near(json!([term("db", "zone"), term("loner", "zone")])), [NEAR; 4]),
            // The first of its kind may go anywhere with the topology key; one that would not match itself may not.
            ("web", near(json!([term("web", "zone")])), ["", "", "", NEAR]),
            ("web", near(json!([term("none", "zone")])), [NEAR; 4]),
            ("web", near(json!([term("db", "rack")])), [NEAR; 4]),
            ("web", far(json!([term("db", "zone")])), [FAR, FAR, "", ""]),
            ("web", far(json!([term("db", "host"), term("loner", "host")])), [FAR, "", FAR, ""]),
            ("web", far(json!([term("web", "zone")])), [""; 4]),
            ("shy", json!({}), ["", "", UNWELCOME, ""]),
        ];
        for (app, spec, expected) in table {
            let pod = labelled_pod("default", "p", json!({"app": app}), spec.clone());
            let found = verdicts(filter(&pod, &snapshot), &snapshot);
            let expected = expected.map(|reason| {
                let unresolvable = reason == NEAR;
                (!reason.is_empty()).then(|| Refusal { reasons: vec![reason.into()], unresolvable })
            });
            assert_eq!(found, expected, "{app} {spec}");
        }
    }

    #[test]
    fn a_pod_that_leaves_makes_its_domain_welcome_again() {
        let mut world = world();
        world.remove_pod("loner");
        let shy = labelled_pod("default", "p", json!({"app": "shy"}), json!({}));
        assert!(filter(&shy, &world.snapshot()).is_none(), "nothing to check for anybody");
    }

    #[test]
    fn both_kinds_at_once_refuse_by_affinity_first() {
        let world = world();
        let snapshot = world.snapshot();
        let spec = json!({"affinity": {
            "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term("db", "zone")]},
            "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term("db", "host")]},
        }});
        let pod = labelled_pod("default", "p", json!({}), spec);
        let near = Some(Refusal::unresolvable(NEAR));
        let expected = [Some(Refusal::resolvable(FAR)), None, near.clone(), near];
        assert_eq!(verdicts(filter(&pod, &snapshot), &snapshot), expected);
    }
}
