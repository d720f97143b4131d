//! The order of a merged list: the patch's elements in the patch's order, the server's own ones near where they were.

use super::directive::{SET_ORDER, go_text, kind_of, list_named_by, without_directives};
use super::list::{self, same_element};
use super::{Entry, Object, PatchError, Result, Schema};
use serde_json::Value;

/// Obeys every `$setElementOrder/NAME`, together with the patch's list of that name; both are taken out of the patch.
pub(super) fn apply_element_orders(original: &mut Object, patch: &mut Object, schema: Schema<'_>) -> Result<()> {
    let directives: Vec<String> = patch.keys().filter(|k| k.starts_with(SET_ORDER)).cloned().collect();
    for directive in directives {
        let order = list_in(patch.remove(&directive).as_ref())?.unwrap_or_default();
        let Some(name) = list_named_by(&directive, SET_ORDER, "setElementOrder list")? else { continue };
        // A patch may order a list and delete it in one: the null is dealt with like any other.
        if patch.get(name).is_some_and(Value::is_null) {
            continue;
        }
        let live = list_in(original.get(name))?;
        let changes = list_in(patch.get(name))?;
        let entry = schema.entry(name)?;
        check_order(changes.as_deref().unwrap_or_default(), &order, entry.merge_key())?;
        patch.remove(name);
        let merged = match (&live, changes) {
            (None, None) => continue,
            (Some(live), None) => live.clone(),
            (None, Some(changes)) => changes.into_iter().filter_map(without_directives).collect(),
            (Some(live), Some(changes)) => merge_by(entry, live.clone(), changes)?,
        };
        list::holds_objects(&[&merged])?;
        let (listed, others) = split_by_presence(merged, &order, entry.merge_key());
        let live = live.unwrap_or_default();
        let sorted = put_in_order(listed, others, &order, &live, entry.merge_key());
        original.insert(name.into(), Value::Array(sorted));
    }
    Ok(())
}

fn merge_by(entry: Entry<'_>, live: Vec<Value>, changes: Vec<Value>) -> Result<Vec<Value>> {
    if entry.merges_list() { list::merge(live, changes, entry) } else { Ok(changes) }
}

fn list_in(value: Option<&Value>) -> Result<Option<Vec<Value>>> {
    match value {
        None => Ok(None),
        Some(Value::Array(items)) => Ok(Some(items.clone())),
        Some(other) => Err(PatchError::WrongType { wanted: "slice", found: kind_of(other) }),
    }
}

/// Every element the patch sets must be in the order list, in the same order.
fn check_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<()> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut rest = order.iter();
    let mut set = patch.iter().filter(|item| !is_delete(item));
    if set.all(|item| rest.any(|o| same_element(o, item, key))) {
        return Ok(());
    }
    let text = |items: &[Value]| go_text(&Value::Array(items.to_vec()));
    Err(PatchError::OrderMismatch { patch: text(patch), order: text(order) })
}

fn is_delete(item: &Value) -> bool {
    item.get(super::directive::PATCH).is_some_and(|p| p == "delete")
}

/// Those that `list` has too, and the others; each in the order they came.
pub(super) fn split_by_presence(items: Vec<Value>, list: &[Value], key: Option<&str>) -> (Vec<Value>, Vec<Value>) {
    items.into_iter().partition(|item| place(list, item, key).is_some())
}

fn place(list: &[Value], item: &Value, key: Option<&str>) -> Option<usize> {
    list.iter().position(|l| same_element(l, item, key))
}

/// `patched` sorted by `patch_order`, `others` by `live_order`; then `others` are threaded in where the live order has them
/// before the next patched element. Both keep their own order.
pub(super) fn put_in_order(
    mut patched: Vec<Value>,
    mut others: Vec<Value>,
    patch_order: &[Value],
    live_order: &[Value],
    key: Option<&str>,
) -> Vec<Value> {
    // Stable; what has no place sorts last.
    patched.sort_by_cached_key(|item| place(patch_order, item, key).unwrap_or(usize::MAX));
    others.sort_by_cached_key(|item| place(live_order, item, key).unwrap_or(usize::MAX));
    let mut sorted = Vec::with_capacity(patched.len() + others.len());
    let mut others = others.into_iter().peekable();
    for item in patched {
        let here = place(live_order, &item, key);
        while let Some(other) =
            others.next_if(|o| matches!((place(live_order, o, key), here), (Some(o), Some(p)) if o < p))
        {
            sorted.push(other);
        }
        sorted.push(item);
    }
    sorted.extend(others);
    sorted
}
