//! One affinity term: which pods it speaks of, and how close "near" is.

use crate::node::NodeState;
use crate::plugins::topology::{Domain, domain, selects};
use crate::snapshot::Snapshot;
use coracle_client::facts::PodFacts;
use k8s_openapi::api::core::v1::{PodAffinity, PodAffinityTerm, PodAntiAffinity};

/// `owner` is the pod whose spec it stands in.
#[derive(Clone, Copy)]
pub struct Term<'a> {
    owner: &'a PodFacts,
    term: &'a PodAffinityTerm,
}

fn affinity(pod: &PodFacts) -> Option<&PodAffinity> {
    pod.constraints.affinity.as_ref()?.pod_affinity.as_ref()
}

fn anti_affinity(pod: &PodFacts) -> Option<&PodAntiAffinity> {
    pod.constraints.affinity.as_ref()?.pod_anti_affinity.as_ref()
}

pub fn required(pod: &PodFacts) -> impl Iterator<Item = Term<'_>> {
    let terms = affinity(pod).and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    terms.into_iter().flatten().map(|term| Term { owner: pod, term })
}

pub fn forbidden(pod: &PodFacts) -> impl Iterator<Item = Term<'_>> {
    let terms = anti_affinity(pod).and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    terms.into_iter().flatten().map(|term| Term { owner: pod, term })
}

/// With weights: positive for affinity, negative for anti-affinity.
pub fn preferred(pod: &PodFacts) -> impl Iterator<Item = (Term<'_>, i64)> {
    let near = affinity(pod).and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref());
    let far = anti_affinity(pod).and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref());
    let near = near.into_iter().flatten().map(|weighted| (weighted, 1));
    let far = far.into_iter().flatten().map(|weighted| (weighted, -1));
    near.chain(far).map(|(weighted, sign)| {
        (Term { owner: pod, term: &weighted.pod_affinity_term }, i64::from(weighted.weight) * sign)
    })
}

/// The pod has a term of any sort.
pub fn has_terms(pod: &PodFacts) -> bool {
    required(pod).next().is_some() || forbidden(pod).next().is_some() || preferred(pod).next().is_some()
}

impl<'a> Term<'a> {
    /// The term speaks of `pod`.
    pub fn matches(&self, pod: &PodFacts, snapshot: &Snapshot<'_>) -> bool {
        self.speaks_of_namespace(pod.meta.namespace(), snapshot)
            && selects(self.term.label_selector.as_ref(), &pod.meta.labels)
            && self.agrees_on_keys(pod)
    }

    /// The nodes that are near `node`; `None` where it lacks the topology key.
    pub fn domain<'n>(&self, node: &'n NodeState) -> Option<Domain<'n>>
    where
        'a: 'n,
    {
        domain(node, &self.term.topology_key)
    }

    /// The namespaces listed and those selected; where neither is given, the owner's own.
    fn speaks_of_namespace(&self, namespace: &str, snapshot: &Snapshot<'_>) -> bool {
        let listed = self.term.namespaces.as_deref().unwrap_or_default();
        let selector = self.term.namespace_selector.as_ref();
        if listed.is_empty() && selector.is_none() {
            return namespace == self.owner.meta.namespace();
        }
        listed.iter().any(|name| name == namespace) || selects(selector, snapshot.namespace_labels(namespace))
    }

    /// `matchLabelKeys` and `mismatchLabelKeys` compare with the owner's labels; keys the owner lacks say nothing.
    fn agrees_on_keys(&self, pod: &PodFacts) -> bool {
        let same = |key: &String| self.owner.meta.label(key).map(|own| pod.meta.label(key) == Some(own));
        self.term.match_label_keys.iter().flatten().all(|key| same(key).unwrap_or(true))
            && self.term.mismatch_label_keys.iter().flatten().all(|key| !same(key).unwrap_or(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{labelled_pod, namespace};
    use crate::world::World;
    use serde_json::{Value, json};

    #[test]
    fn terms_speak_of_pods_by_namespace_and_labels() {
        let mut world = World::default();
        world.set_namespace("home", Some(namespace("home", json!({"team": "a"})).labels.clone()));
        world.set_namespace("away", Some(namespace("away", json!({"team": "b"})).labels.clone()));
        let snapshot = world.snapshot();
        let web = json!({"matchLabels": {"app": "web"}});
        let table: [(Value, [bool; 3]); 12] = [
            (json!({"labelSelector": web}), [true, false, false]),
            (json!({}), [false, false, false]),
            (json!({"labelSelector": {}}), [true, false, true]),
            (json!({"labelSelector": web, "namespaces": ["away"]}), [false, true, false]),
            (json!({"labelSelector": web, "namespaces": ["away", "home"]}), [true, true, false]),
            (json!({"labelSelector": web, "namespaceSelector": {}}), [true, true, false]),
            (json!({"labelSelector": web, "namespaceSelector": {"matchLabels": {"team": "b"}}}), [false, true, false]),
            (
                json!({"labelSelector": web, "namespaces": ["home"], "namespaceSelector": {"matchLabels": {"team": "b"}}}),
                [true, true, false],
            ),
            (json!({"labelSelector": {}, "matchLabelKeys": ["version"]}), [true, false, false]),
            (json!({"labelSelector": {}, "mismatchLabelKeys": ["version"]}), [false, false, true]),
            (json!({"labelSelector": {}, "matchLabelKeys": ["absent"]}), [true, false, true]),
            (json!({"labelSelector": {}, "mismatchLabelKeys": ["absent"]}), [true, false, true]),
        ];
        let others = [
            labelled_pod("home", "same", json!({"app": "web", "version": "1"}), json!({})),
            labelled_pod("away", "other", json!({"app": "web", "version": "1"}), json!({})),
            labelled_pod("home", "db", json!({"app": "db"}), json!({})),
        ];
        for (tree, expected) in table {
            let mut term = tree.clone();
            term["topologyKey"] = "zone".into();
            let spec = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}});
            let owner = labelled_pod("home", "owner", json!({"app": "web", "version": "1"}), spec);
            let term = required(&owner).next().expect("a term");
            assert_eq!(others.clone().map(|pod| term.matches(&pod, &snapshot)), expected, "{tree}");
        }
    }
}
