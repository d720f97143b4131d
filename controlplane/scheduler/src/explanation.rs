//! Why a pod went where it went, or nowhere: every node's verdict, and upstream's sentence about them.

use crate::plugins::SCORES;
use coracle_proto::ObjectKey;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The last decision about one pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explanation {
    /// By node.
    pub verdicts: Vec<(Arc<ObjectKey>, NodeVerdict)>,
    /// No node runs a pod of lower priority.
    pub no_victims: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum NodeVerdict {
    Refused {
        filter: &'static str,
        refusal: Refusal,
    },
    /// `parts` are weighted, in the order of [`SCORES`]; what makes no difference between nodes is 0.
    Scored {
        total: i64,
        parts: [i64; SCORES.len()],
    },
}

/// A filter's answer for a node it refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Upstream's words, counted over the nodes.
    pub reasons: Vec<String>,
    /// Fewer pods on the node would not help.
    pub unresolvable: bool,
}

impl Refusal {
    /// Could pass once pods on the node have gone.
    pub fn resolvable(reason: impl Into<String>) -> Self {
        Self { reasons: vec![reason.into()], unresolvable: false }
    }

    pub fn unresolvable(reason: impl Into<String>) -> Self {
        Self { reasons: vec![reason.into()], unresolvable: true }
    }
}

impl Explanation {
    /// The message of a `FailedScheduling` event, in upstream's form:
    /// <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-overhead/> shows one.
    pub fn message(&self) -> String {
        let all = self.verdicts.len();
        if all == 0 {
            return "no nodes available to schedule pods".into();
        }
        let refusals = || {
            self.verdicts.iter().filter_map(|(_, verdict)| match verdict {
                NodeVerdict::Refused { refusal, .. } => Some(refusal),
                NodeVerdict::Scored { .. } => None,
            })
        };
        let reasons = histogram(refusals().flat_map(|r| r.reasons.iter().map(String::as_str)));
        let mut message = format!("0/{all} nodes are available: {reasons}.");
        // While a pod of lower priority runs somewhere, nothing true can be said about preemption without trying it.
        if self.no_victims {
            let outlook = histogram(refusals().map(|r| {
                if r.unresolvable {
                    "Preemption is not helpful for scheduling"
                } else {
                    "No preemption victims found for incoming pod"
                }
            }));
            message.push_str(&format!(" preemption: 0/{all} nodes are available: {outlook}."));
        }
        message
    }
}

/// `2 this, 1 that`, ordered as text.
fn histogram<'a>(reasons: impl Iterator<Item = &'a str>) -> String {
    let mut counts = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_insert(0) += 1;
    }
    let mut lines: Vec<String> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    lines.sort();
    lines.join(", ")
}
