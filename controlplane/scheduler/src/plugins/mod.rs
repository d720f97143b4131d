//! The table of filters and scores. Adding one is one file and one row.

mod image_locality;
pub(crate) mod inter_pod_affinity;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_resources;
mod node_unschedulable;
mod pod_topology_spread;
mod taint_toleration;
mod topology;

use crate::explanation::Refusal;
use crate::node::NodeState;
use crate::snapshot::Snapshot;
use coracle_client::facts::PodFacts;

/// A filter made ready for one cycle.
pub type Check<'a> = Box<dyn Fn(&NodeState) -> Result<(), Refusal> + 'a>;

/// A score made ready for one cycle: any number; `normalise` brings them to 0..=100.
pub type Rate<'a> = Box<dyn Fn(&NodeState) -> i64 + 'a>;

pub struct Filter {
    pub name: &'static str,
    /// Works out, once per cycle, what it needs to know of the whole cluster. `None`: it has nothing against any node.
    pub prepare: for<'a> fn(&'a PodFacts, &'a Snapshot<'a>) -> Option<Check<'a>>,
}

pub struct Score {
    pub name: &'static str,
    pub weight: i64,
    /// As for filters; the slice holds the nodes that passed them. `None`: all nodes are equal.
    pub prepare: for<'a> fn(&'a PodFacts, &'a Snapshot<'a>, &'a [&'a NodeState]) -> Option<Rate<'a>>,
    pub normalise: fn(&mut [i64]),
}

/// A row for a function that looks at nothing but the pod and the node.
macro_rules! filter {
    ($name:literal, $check:path) => {
        Filter { name: $name, prepare: |pod, _| Some(Box::new(move |node| $check(pod, node))) }
    };
}

macro_rules! score {
    ($name:literal, $weight:literal, $score:path, $normalise:expr) => {
        Score {
            name: $name,
            weight: $weight,
            prepare: |pod, _, _| Some(Box::new(move |node| $score(pod, node))),
            normalise: $normalise,
        }
    };
}

/// In upstream's order: the first refusal is the one that is told.
pub const FILTERS: &[Filter] = &[
    filter!("NodeUnschedulable", node_unschedulable::check),
    filter!("NodeName", node_name::check),
    filter!("TaintToleration", taint_toleration::check),
    filter!("NodeAffinity", node_affinity::check),
    filter!("NodePorts", node_ports::check),
    filter!("NodeResourcesFit", node_resources::check),
    Filter { name: "PodTopologySpread", prepare: pod_topology_spread::filter },
    Filter { name: "InterPodAffinity", prepare: inter_pod_affinity::filter },
];

/// With upstream's weights.
pub const SCORES: &[Score] = &[
    score!("TaintToleration", 3, taint_toleration::score, |scores| to_hundred(scores, true)),
    score!("NodeAffinity", 2, node_affinity::score, |scores| to_hundred(scores, false)),
    score!("LeastAllocated", 1, node_resources::least_allocated, |_| {}),
    Score {
        name: "PodTopologySpread",
        weight: 2,
        prepare: pod_topology_spread::score,
        normalise: pod_topology_spread::normalise,
    },
    Score { name: "InterPodAffinity", weight: 2, prepare: inter_pod_affinity::score, normalise: spread_to_hundred },
    Score { name: "BalancedAllocation", weight: 1, prepare: node_resources::balance, normalise: |_| {} },
    Score { name: "ImageLocality", weight: 1, prepare: image_locality::score, normalise: |_| {} },
];

/// Whether the pod's fate hangs on which other pods run where, and not only on the room they leave.
pub fn minds_company(pod: &PodFacts) -> bool {
    inter_pod_affinity::has_terms(pod) || !pod.constraints.topology_spread.is_empty()
}

/// Scales so that the highest becomes 100, or, `reversed`, so that the highest becomes 0 and 0 becomes 100.
fn to_hundred(scores: &mut [i64], reversed: bool) {
    let highest = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        let scaled = if highest == 0 { 0 } else { *score * 100 / highest };
        *score = if reversed { 100 - scaled } else { scaled };
    }
}

/// Scales so that the lowest becomes 0 and the highest 100; equal ones become 0.
fn spread_to_hundred(scores: &mut [i64]) {
    let lowest = scores.iter().copied().min().unwrap_or(0);
    let range = scores.iter().copied().max().unwrap_or(0) - lowest;
    for score in scores {
        *score = if range == 0 { 0 } else { (*score - lowest) * 100 / range };
    }
}
