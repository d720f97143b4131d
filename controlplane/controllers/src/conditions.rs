//! Conditions and status fields on JSON trees, by upstream's rules.

use coracle_proto::{Tree, time};
use jiff::Timestamp;
use serde_json::{Map, Value};

/// The condition of this type, of a list of conditions.
pub(crate) fn find<'a>(conditions: &'a [Tree], kind: &str) -> Option<&'a Tree> {
    conditions.iter().find(|c| c["type"] == kind)
}

pub(crate) fn remove(conditions: &mut Vec<Tree>, kind: &str) {
    conditions.retain(|c| c["type"] != kind);
}

/// Sets a condition as Deployments and ReplicaSets do: nothing changes while status and reason stay, and the
/// transition time stays while the status does. `with_update_time` adds `lastUpdateTime`.
pub(crate) fn set(conditions: &mut Vec<Tree>, mut condition: Tree) {
    let kind = condition["type"].as_str().unwrap_or_default().to_owned();
    if let Some(current) = find(conditions, &kind) {
        if current["status"] == condition["status"] && current["reason"] == condition["reason"] {
            return;
        }
        if current["status"] == condition["status"] {
            condition["lastTransitionTime"] = current["lastTransitionTime"].clone();
        }
    }
    remove(conditions, &kind);
    conditions.push(condition);
}

/// A new condition, changed now.
pub(crate) fn new(kind: &str, status: &str, reason: &str, message: &str, now: Timestamp) -> Tree {
    serde_json::json!({
        "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": time::render(now),
    })
}

/// The merge patch that turns the status `current` into `wanted`, or `None` if nothing differs. Fields of `wanted`
/// that are null, zero or empty are absent in the result, as upstream's `omitempty` has it, unless in `always`.
pub(crate) fn status_patch(current: &Tree, wanted: &Map<String, Value>, always: &[&str]) -> Option<Map<String, Value>> {
    let mut patch = Map::new();
    for (field, value) in wanted {
        let omit = !always.contains(&field.as_str()) && is_empty(value);
        let value = if omit { Value::Null } else { value.clone() };
        if current[field] != value {
            patch.insert(field.clone(), value);
        }
    }
    (!patch.is_empty()).then_some(patch)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Number(n) => n.as_i64() == Some(0),
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        Value::Bool(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_condition_moves_only_when_status_or_reason_change() {
        let at = |text| time::parse(text).expect("valid");
        let (first, later) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T00:01:00Z"));
        let mut list = vec![new("A", "True", "R", "m", first), new("B", "True", "R", "m", first)];
        set(&mut list, new("A", "True", "R", "other message", later));
        assert_eq!(find(&list, "A").expect("there")["message"], "m");
        set(&mut list, new("A", "True", "R2", "m2", later));
        let a = find(&list, "A").expect("there");
        assert_eq!((&a["message"], &a["lastTransitionTime"]), (&json!("m2"), &json!("2026-01-01T00:00:00Z")));
        set(&mut list, new("A", "False", "R2", "m2", later));
        assert_eq!(find(&list, "A").expect("there")["lastTransitionTime"], "2026-01-01T00:01:00Z");
        assert_eq!(list.len(), 2);
    }

    #[test]
    fn a_status_patch_has_what_differs() {
        let wanted = json!({"replicas": 0, "ready": 0, "conditions": [], "seen": 2});
        let wanted = wanted.as_object().expect("is one");
        let patch = |current| status_patch(&current, wanted, &["replicas"]).map(Value::Object);
        assert_eq!(patch(json!({"ready": 3, "seen": 2})), Some(json!({"ready": null, "replicas": 0})));
        assert_eq!(patch(json!({"replicas": 0, "seen": 2})), None);
    }
}
