//! One spread constraint, with its defaults filled in: which nodes and which pods it counts.

use crate::node::NodeState;
use crate::plugins::topology::{is_empty, selects};
use crate::plugins::{node_affinity, taint_toleration};
use coracle_client::facts::{Labels, PodFacts};
use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

pub struct Constraint<'a> {
    pub key: &'a str,
    pub max_skew: i64,
    pub min_domains: usize,
    pod: &'a PodFacts,
    selector: Option<&'a LabelSelector>,
    /// Labels of the pod that `matchLabelKeys` adds to the selector.
    own_labels: Vec<(&'a str, &'a str)>,
    honours_affinity: bool,
    honours_taints: bool,
}

/// `when` is `DoNotSchedule` or `ScheduleAnyway`.
pub fn constraints<'a>(pod: &'a PodFacts, when: &str) -> Vec<Constraint<'a>> {
    let chosen = pod.constraints.topology_spread.iter().filter(|c| c.when_unsatisfiable == when);
    chosen.map(|c| Constraint::of(pod, c)).collect()
}

/// The node has every constraint's label.
pub fn has_all_keys(node: &NodeState, constraints: &[Constraint<'_>]) -> bool {
    constraints.iter().all(|c| c.value(node).is_some())
}

impl<'a> Constraint<'a> {
    fn of(pod: &'a PodFacts, tree: &'a TopologySpreadConstraint) -> Self {
        let keys = tree.match_label_keys.iter().flatten();
        Self {
            key: &tree.topology_key,
            max_skew: tree.max_skew.into(),
            min_domains: tree.min_domains.and_then(|n| n.try_into().ok()).unwrap_or(1),
            pod,
            selector: tree.label_selector.as_ref(),
            own_labels: keys.filter_map(|key| Some((key.as_str(), pod.meta.label(key)?))).collect(),
            honours_affinity: tree.node_affinity_policy.as_deref() != Some("Ignore"),
            honours_taints: tree.node_taints_policy.as_deref() == Some("Honor"),
        }
    }

    pub fn value<'n>(&self, node: &'n NodeState) -> Option<&'n str> {
        node.facts.meta.label(self.key)
    }

    /// Nodes where the pod could not run anyway do not make a domain.
    pub fn covers(&self, node: &NodeState) -> bool {
        (!self.honours_affinity || node_affinity::check(self.pod, node).is_ok())
            && (!self.honours_taints || taint_toleration::check(self.pod, node).is_ok())
    }

    pub fn selects(&self, labels: &Labels) -> bool {
        selects(self.selector, labels)
            && self.own_labels.iter().all(|(key, value)| labels.get(*key).is_some_and(|v| v == value))
    }

    /// Pods on the node that the constraint is about. As upstream, an empty selector counts none, and pods that are
    /// being deleted no longer count.
    pub fn count(&self, node: &NodeState) -> i64 {
        if self.selector.is_none_or(is_empty) && self.own_labels.is_empty() {
            return 0;
        }
        let counts = |pod: &&std::sync::Arc<PodFacts>| {
            !pod.meta.is_deleting()
                && pod.meta.namespace() == self.pod.meta.namespace()
                && self.selects(&pod.meta.labels)
        };
        node.pods.values().filter(counts).count() as i64
    }
}
