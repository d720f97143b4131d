//! One spread constraint, with its defaults filled in: which nodes and which pods it counts.

use crate::node::NodeState;
use crate::plugins::topology::{is_empty, selects};
use crate::plugins::{node_affinity, taint_toleration};
use coracle_client::facts::{Labels, PodFacts};
use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::sync::Arc;

pub struct Constraint<'a> {
    pub key: &'a str,
    pub max_skew: i64,
    pub min_domains: usize,
    pod: &'a PodFacts,
    whom: Whom<'a>,
    honours_affinity: bool,
    honours_taints: bool,
}

/// The pods it is about.
enum Whom<'a> {
    Selected {
        selector: Option<&'a LabelSelector>,
        /// Labels of the pod that `matchLabelKeys` adds to the selector.
        own_labels: Vec<(&'a str, &'a str)>,
    },
    /// Those of this controller, by UID.
    Siblings(&'a str),
}

/// What spreads pods that have no constraints of their own, as upstream's `defaultingType: System`: key and `maxSkew`.
const DEFAULTS: [(&str, i64); 2] = [(HOSTNAME, 3), ("topology.kubernetes.io/zone", 5)];

pub const HOSTNAME: &str = "kubernetes.io/hostname";

/// Pods of one controller are spread, without insisting. Upstream selects them by the selectors of the controller and
/// of services; whose pods they are says the same of replicas.
pub fn defaults(pod: &PodFacts) -> Vec<Constraint<'_>> {
    let spreads = |kind: &str| matches!(kind, "ReplicaSet" | "StatefulSet" | "ReplicationController");
    let Some(owner) = pod.meta.controller().filter(|owner| spreads(&owner.kind)) else { return Vec::new() };
    let constraint = |(key, max_skew)| Constraint {
        key,
        max_skew,
        min_domains: 1,
        pod,
        whom: Whom::Siblings(&owner.uid),
        honours_affinity: true,
        honours_taints: false,
    };
    DEFAULTS.map(constraint).into()
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
            whom: Whom::Selected {
                selector: tree.label_selector.as_ref(),
                own_labels: keys.filter_map(|key| Some((key.as_str(), pod.meta.label(key)?))).collect(),
            },
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

    /// The pod itself is one of those it is about.
    pub fn selects_itself(&self) -> bool {
        match &self.whom {
            Whom::Selected { selector, own_labels } => agrees(*selector, own_labels, &self.pod.meta.labels),
            Whom::Siblings(_) => true,
        }
    }

    /// Pods on the node that the constraint is about. As upstream, an empty selector counts none, and pods that are
    /// being deleted no longer count.
    pub fn count(&self, node: &NodeState) -> i64 {
        let (selector, own_labels) = match &self.whom {
            Whom::Siblings(controller) => return node.siblings(controller),
            Whom::Selected { selector, own_labels } => (*selector, own_labels),
        };
        if selector.is_none_or(is_empty) && own_labels.is_empty() {
            return 0;
        }
        let counts = |pod: &&Arc<PodFacts>| {
            !pod.meta.is_deleting()
                && pod.meta.namespace() == self.pod.meta.namespace()
                && agrees(selector, own_labels, &pod.meta.labels)
        };
        node.pods.values().filter(counts).count() as i64
    }
}

fn agrees(selector: Option<&LabelSelector>, own_labels: &[(&str, &str)], labels: &Labels) -> bool {
    selects(selector, labels) && own_labels.iter().all(|(key, value)| labels.get(*key).is_some_and(|v| v == value))
}
