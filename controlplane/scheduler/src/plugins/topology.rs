//! What rules about groups of nodes share: a domain is all nodes with one value of a label, and selectors pick pods.

use crate::node::NodeState;
use coracle_client::facts::Labels;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use std::collections::BTreeSet;

/// A topology key and its value.
pub type Domain<'a> = (&'a str, &'a str);

/// `None` where the node lacks the label.
pub fn domain<'a>(node: &'a NodeState, key: &'a str) -> Option<Domain<'a>> {
    Some((key, node.facts.meta.label(key)?))
}

/// The topology keys that occur, each once.
pub fn keys<'a>(domains: impl Iterator<Item = Domain<'a>>) -> BTreeSet<&'a str> {
    domains.map(|(key, _)| key).collect()
}

/// Without a selector nothing is selected, by an empty one everything. Matched in place: it runs once per pod of the
/// cluster.
pub fn selects(selector: Option<&LabelSelector>, labels: &Labels) -> bool {
    let Some(selector) = selector else { return false };
    selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
        && selector.match_expressions.iter().flatten().all(|e| meets(e, labels.get(&e.key).map(String::as_str)))
}

pub fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(|m| m.is_empty())
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

fn meets(requirement: &LabelSelectorRequirement, value: Option<&str>) -> bool {
    let listed = || value.is_some_and(|v| requirement.values.iter().flatten().any(|w| w == v));
    match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn selectors_match_labels() {
        let labels: Labels = [("app".to_owned(), "web".to_owned())].into();
        let expression = |operator: &str, values: Value| json!({"matchExpressions": [{"key": "app", "operator": operator, "values": values}]});
        let table = [
            (Value::Null, false),
            (json!({}), true),
            (json!({"matchLabels": {"app": "web"}}), true),
            (json!({"matchLabels": {"app": "web", "tier": "front"}}), false),
            (expression("In", json!(["web", "db"])), true),
            (expression("NotIn", json!(["web"])), false),
            (expression("Exists", Value::Null), true),
            (expression("DoesNotExist", Value::Null), false),
            (expression("Near", json!(["web"])), false),
        ];
        for (tree, expected) in table {
            let selector: Option<LabelSelector> = serde_json::from_value(tree.clone()).expect("a selector");
            assert_eq!(selects(selector.as_ref(), &labels), expected, "{tree}");
        }
    }
}
