//! Merging a list into a list: scalars as a set, objects by their merge key.

use super::directive::{PATCH, go_map, go_text, kind_of, unknown, without_directives};
use super::order::{put_in_order, split_by_presence};
use super::{Entry, Object, PatchError, Result, Schema, merge_objects};
use serde_json::Value;

/// Scalars are compared by their text, as upstream does.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    a == b || (!a.is_object() && !b.is_object() && go_text(a) == go_text(b))
}

/// Whether two elements are the same one: by merge key if there is one, else by value.
pub(super) fn same_element(a: &Value, b: &Value, key: Option<&str>) -> bool {
    match key {
        None => same(a, b),
        Some(key) => matches!((a.get(key), b.get(key)), (Some(a), Some(b)) if same(a, b)),
    }
}

/// Whether the elements are objects. All must be of one kind.
pub(super) fn holds_objects(lists: &[&[Value]]) -> Result<bool> {
    let mut found: Option<&str> = None;
    for item in lists.iter().copied().flatten() {
        let kind = kind_of(item);
        match found {
            _ if matches!(kind, "slice" | "nil") => return Err(PatchError::MixedList(kind.into())),
            None => found = Some(kind),
            Some(before) if before == kind => {}
            Some(before) => return Err(PatchError::MixedList(format!("{before}, {kind}"))),
        }
    }
    Ok(found == Some("map"))
}

pub(super) fn merge(original: Vec<Value>, patch: Vec<Value>, entry: Entry<'_>) -> Result<Vec<Value>> {
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    if !holds_objects(&[&original, &patch])? {
        let mut merged: Vec<Value> = Vec::new();
        for item in original.iter().chain(&patch) {
            if !merged.iter().any(|m| same(m, item)) {
                merged.push(item.clone());
            }
        }
        let (from_patch, others) = split_by_presence(merged, &patch, None);
        return Ok(put_in_order(from_patch, others, &patch, &original, None));
    }
    let schema = entry.item_schema();
    let key = entry.merge_key().ok_or_else(|| PatchError::NoKeyDeclared(schema.name()))?;
    let (base, additions) = apply_special_elements(original.clone(), patch, key)?;
    let order = additions.clone();
    let merged = merge_elements(base, additions, key, schema)?;
    let (from_patch, others) = split_by_presence(merged, &order, Some(key));
    Ok(put_in_order(from_patch, others, &order, &original, Some(key)))
}

/// Acts on the elements that are directives: `{$patch: delete, KEY: …}`, `{$patch: replace}`. The rest comes back.
fn apply_special_elements(mut original: Vec<Value>, patch: Vec<Value>, key: &str) -> Result<(Vec<Value>, Vec<Value>)> {
    let mut plain = Vec::with_capacity(patch.len());
    let mut replace = false;
    for item in patch {
        let map = object_of(&item)?;
        let Some(directive) = map.get(PATCH) else {
            plain.push(item);
            continue;
        };
        match directive.as_str() {
            Some("delete") => {
                let unwanted = map.get(key).ok_or_else(|| no_key(map, key))?;
                original.retain(|o| !o.get(key).is_some_and(|v| same(v, unwanted)));
            }
            Some("replace") => replace = true,
            Some("merge") => return Err(PatchError::MergeInList),
            _ => return Err(unknown(directive, map)),
        }
    }
    if replace {
        original.clear();
    }
    Ok((original, plain))
}

fn merge_elements(mut original: Vec<Value>, patch: Vec<Value>, key: &str, schema: Schema<'_>) -> Result<Vec<Value>> {
    for item in patch {
        let map = object_of(&item)?;
        let wanted = map.get(key).ok_or_else(|| no_key(map, key))?.clone();
        let found = original.iter_mut().find(|o| o.get(key).is_some_and(|v| same(v, &wanted)));
        match (found, item) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                *old = merge_objects(std::mem::take(old), new, schema)?;
            }
            (_, item) => original.extend(without_directives(item)),
        }
    }
    Ok(original)
}

fn object_of(item: &Value) -> Result<&Object> {
    item.as_object().ok_or_else(|| PatchError::WrongType { wanted: "map", found: kind_of(item) })
}

fn no_key(map: &Object, key: &str) -> PatchError {
    PatchError::NoMergeKey { map: go_map(map), key: key.into() }
}
