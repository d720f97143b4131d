//! `nodeSelector` and `affinity.nodeAffinity`:
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/>.

use crate::explanation::Refusal;
use crate::node::NodeState;
use coracle_client::facts::PodFacts;
use coracle_proto::selector::{Operator, Requirement};
use k8s_openapi::api::core::v1::{NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm};

pub fn check(pod: &PodFacts, node: &NodeState) -> Result<(), Refusal> {
    let labels = &node.facts.meta.labels;
    let selected = pod.constraints.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value));
    let required = affinity(pod).and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    // Any one term will do; without terms nothing matches.
    if selected && required.is_none_or(|r| r.node_selector_terms.iter().any(|term| matches(term, node))) {
        return Ok(());
    }
    Err(Refusal::unresolvable("node(s) didn't match Pod's node affinity/selector"))
}

/// The weights of the preferences the node meets.
pub fn score(pod: &PodFacts, node: &NodeState) -> i64 {
    let preferred = affinity(pod).and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref());
    let met = preferred.into_iter().flatten().filter(|p| matches(&p.preference, node));
    met.map(|p| i64::from(p.weight)).sum()
}

fn affinity(pod: &PodFacts) -> Option<&NodeAffinity> {
    pod.constraints.affinity.as_ref()?.node_affinity.as_ref()
}

/// A term without requirements matches no node.
fn matches(term: &NodeSelectorTerm, node: &NodeState) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let label = |key: &str| node.facts.meta.label(key);
    let field = |key: &str| (key == "metadata.name").then(|| node.name());
    (!expressions.is_empty() || !fields.is_empty())
        && expressions.iter().all(|e| requirement(e).is_some_and(|r| r.matches(label(&r.key))))
        && fields.iter().all(|f| requirement(f).is_some_and(|r| r.matches(field(&r.key))))
}

/// `None` for an operator that does not exist: it matches nothing.
fn requirement(tree: &NodeSelectorRequirement) -> Option<Requirement> {
    Some(Requirement {
        key: tree.key.clone(),
        operator: Operator::parse(&tree.operator)?,
        values: tree.values.clone().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{labelled_node, pod};
    use serde_json::{Value, json};

    #[test]
    fn selectors_and_affinity_choose_nodes() {
        let node = NodeState::new(labelled_node("n", json!({"zone": "a", "cores": "8"})));
        let required = |terms: Value| {
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                {"nodeSelectorTerms": terms}}}})
        };
        let expression = |key: &str, operator: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        let table = [
            (json!({}), true),
            (json!({"nodeSelector": {"zone": "a"}}), true),
            (json!({"nodeSelector": {"zone": "b"}}), false),
            (required(json!([])), false),
            (required(json!([{}])), false),
            (required(json!([expression("zone", "In", json!(["a", "b"]))])), true),
            (required(json!([expression("zone", "NotIn", json!(["a"]))])), false),
            (required(json!([expression("gpu", "DoesNotExist", json!([]))])), true),
            (required(json!([expression("cores", "Gt", json!(["4"]))])), true),
            (required(json!([expression("cores", "Lt", json!(["8"]))])), false),
            (required(json!([expression("zone", "In", json!(["b"])), expression("cores", "Exists", json!([]))])), true),
            (required(json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}])), true),
            (required(json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["m"]}]}])), false),
        ];
        for (spec, fits) in table {
            assert_eq!(check(&pod("p", spec.clone()), &node).is_ok(), fits, "{spec}");
        }
    }

    #[test]
    fn preferences_add_their_weights() {
        let node = NodeState::new(labelled_node("n", json!({"zone": "a"})));
        let preference = |weight: i32, zone: &str| {
            json!({"weight": weight, "preference":
                {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}})
        };
        let spec = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution":
            [preference(5, "a"), preference(7, "b"), preference(2, "a")]}}});
        assert_eq!(score(&pod("p", spec), &node), 7);
    }
}
