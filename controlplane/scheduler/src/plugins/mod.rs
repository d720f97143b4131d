//! The table of filters and scores. Adding one is one file and one row.

mod node_affinity;
mod node_name;
mod node_ports;
mod node_resources;
mod node_unschedulable;
mod taint_toleration;

use crate::explanation::Refusal;
use crate::node::NodeState;
use coracle_client::facts::PodFacts;

pub struct Filter {
    pub name: &'static str,
    pub check: fn(&PodFacts, &NodeState) -> Result<(), Refusal>,
}

pub struct Score {
    pub name: &'static str,
    pub weight: i64,
    /// Any number; `normalise` brings it to 0..=100.
    pub score: fn(&PodFacts, &NodeState) -> i64,
    pub normalise: fn(&mut [i64]),
}

/// In upstream's order: the first refusal is the one that is told.
pub const FILTERS: &[Filter] = &[
    Filter { name: "NodeUnschedulable", check: node_unschedulable::check },
    Filter { name: "NodeName", check: node_name::check },
    Filter { name: "TaintToleration", check: taint_toleration::check },
    Filter { name: "NodeAffinity", check: node_affinity::check },
    Filter { name: "NodePorts", check: node_ports::check },
    Filter { name: "NodeResourcesFit", check: node_resources::check },
];

pub const SCORES: &[Score] = &[
    Score {
        name: "TaintToleration",
        weight: 3,
        score: taint_toleration::score,
        normalise: |scores| to_hundred(scores, true),
    },
    Score {
        name: "NodeAffinity",
        weight: 2,
        score: node_affinity::score,
        normalise: |scores| to_hundred(scores, false),
    },
    Score { name: "LeastAllocated", weight: 1, score: node_resources::least_allocated, normalise: |_| {} },
    Score { name: "BalancedAllocation", weight: 1, score: node_resources::balanced, normalise: |_| {} },
];

/// Scales so that the highest becomes 100, or, `reversed`, so that the highest becomes 0 and 0 becomes 100.
fn to_hundred(scores: &mut [i64], reversed: bool) {
    let highest = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        let scaled = if highest == 0 { 0 } else { *score * 100 / highest };
        *score = if reversed { 100 - scaled } else { scaled };
    }
}
