//! The keys with which a patch says more than values: their names, and how they are read and stripped.

use super::{Object, PatchError, Result};
use serde_json::Value;

pub(super) const PATCH: &str = "$patch";
pub(super) const RETAIN_KEYS: &str = "$retainKeys";
pub(super) const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList";
pub(super) const SET_ORDER: &str = "$setElementOrder";

/// `$setElementOrder/finalizers` → `finalizers`. `None` if `key` is not that directive.
pub(super) fn list_named_by<'k>(key: &'k str, directive: &str, what: &'static str) -> Result<Option<&'k str>> {
    match key.strip_prefix(directive) {
        None => Ok(None),
        Some(rest) => match rest.strip_prefix('/') {
            Some(name) if !name.is_empty() && !name.contains('/') => Ok(Some(name)),
            _ => Err(PatchError::Malformed(what)),
        },
    }
}

/// `$retainKeys`: what it does not list goes; what the patch sets it must list.
pub(super) fn apply_retain_keys(original: &mut Object, patch: &mut Object) -> Result<()> {
    let keys = match patch.remove(RETAIN_KEYS) {
        None => return Ok(()),
        Some(Value::Array(keys)) => keys,
        Some(_) => return Err(PatchError::Malformed("retainKeys")),
    };
    let listed = |key: &str| keys.iter().any(|k| k == key);
    let is_list_directive = |key: &str| key.starts_with(DELETE_FROM_LIST) || key.starts_with(SET_ORDER);
    if patch.iter().any(|(key, value)| !value.is_null() && !is_list_directive(key) && !listed(key)) {
        return Err(PatchError::Malformed("retainKeys"));
    }
    original.retain(|key, _| listed(key));
    Ok(())
}

/// A new value without the directives in it; `None` if it says that it is to be deleted.
pub(super) fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(entries) => {
            if entries.get(PATCH).is_some_and(|p| p == "delete") {
                return None;
            }
            let is_directive = |key: &str| {
                key == PATCH || key == RETAIN_KEYS || key.starts_with(DELETE_FROM_LIST) || key.starts_with(SET_ORDER)
            };
            let kept = entries.into_iter().filter(|(key, _)| !is_directive(key));
            Some(kept.filter_map(|(key, value)| Some((key, without_directives(value)?))).collect())
        }
        Value::Array(items) => Some(items.into_iter().filter_map(without_directives).collect()),
        other => Some(other),
    }
}

/// A new value without the nulls of objects in it: there was nothing to delete.
pub(super) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(entries) => {
            let kept = entries.into_iter().filter(|(_, value)| !value.is_null());
            kept.map(|(key, value)| (key, without_nulls(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

pub(super) fn unknown(directive: &Value, map: &Object) -> PatchError {
    PatchError::UnknownDirective { directive: go_text(directive), map: go_map(map) }
}

/// As Go's `reflect` names the kinds of decoded JSON.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
    }
}

/// As Go's JSON decoder names them.
pub(super) fn json_kind_of(value: &Value) -> &'static str {
    match value {
        Value::Number(_) => "number",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        other => kind_of(other),
    }
}

/// As Go prints a value with `%v`.
pub(super) fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => go_map(map),
        other => other.to_string(),
    }
}

pub(super) fn go_map(map: &Object) -> String {
    let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{}", go_text(value))).collect();
    format!("map[{}]", entries.join(" "))
}
