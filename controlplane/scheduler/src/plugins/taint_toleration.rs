//! Taints keep pods off a node, unless they tolerate them:
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/>.

use crate::explanation::Refusal;
use crate::node::NodeState;
use coracle_client::facts::PodFacts;
use k8s_openapi::api::core::v1::{Taint, Toleration};

pub fn check(pod: &PodFacts, node: &NodeState) -> Result<(), Refusal> {
    let hard = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    let untolerated = node.facts.taints.iter().filter(hard).find(|taint| !tolerated(pod, taint));
    match untolerated {
        None => Ok(()),
        Some(taint) => {
            let value = taint.value.as_deref().unwrap_or_default();
            Err(Refusal::unresolvable(format!("node(s) had untolerated taint {{{}: {value}}}", taint.key)))
        }
    }
}

/// How many `PreferNoSchedule` taints the pod does not tolerate: fewer is better.
pub fn score(pod: &PodFacts, node: &NodeState) -> i64 {
    let soft = node.facts.taints.iter().filter(|t| t.effect == "PreferNoSchedule");
    soft.filter(|taint| !tolerated(pod, taint)).count() as i64
}

fn tolerated(pod: &PodFacts, taint: &Taint) -> bool {
    pod.constraints.tolerations.iter().any(|t| tolerates(t, taint))
}

/// An empty key with `Exists` tolerates everything, an empty effect every effect.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if !(effect.is_empty() || effect == taint.effect) || !(key.is_empty() || key == taint.key) {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "Equal" | "" => {
            toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
                && !key.is_empty()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn tolerations_match_as_upstreams_do() {
        let taint: Taint =
            serde_json::from_value(json!({"key": "k", "value": "v", "effect": "NoSchedule"})).expect("a taint");
        let table: [(Value, bool); 9] = [
            (json!({"key": "k", "value": "v", "effect": "NoSchedule"}), true),
            (json!({"key": "k", "operator": "Equal", "value": "v"}), true),
            (json!({"key": "k", "operator": "Exists"}), true),
            (json!({"operator": "Exists"}), true),
            (json!({"operator": "Exists", "effect": "NoExecute"}), false),
            (json!({"key": "k", "value": "w"}), false),
            (json!({"key": "k"}), false),
            (json!({"key": "l", "operator": "Exists"}), false),
            (json!({"key": "k", "operator": "Near", "value": "v"}), false),
        ];
        for (tree, expected) in table {
            let toleration: Toleration = serde_json::from_value(tree.clone()).expect("a toleration");
            assert_eq!(tolerates(&toleration, &taint), expected, "{tree}");
        }
    }
}
