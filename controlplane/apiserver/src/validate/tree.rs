//! Reading a checked tree, and the smallest checks on it.

use super::{Errors, Path};
use coracle_proto::Tree;
use coracle_proto::field::FieldError;

/// The text at `key`, empty where there is none.
pub fn text<'a>(tree: &'a Tree, key: &str) -> &'a str {
    tree[key].as_str().unwrap_or_default()
}

/// The number at `key`, 0 where there is none.
pub fn int(tree: &Tree, key: &str) -> i64 {
    tree[key].as_i64().unwrap_or_default()
}

pub fn optional_int(tree: &Tree, key: &str) -> Option<i64> {
    tree[key].as_i64()
}

/// The list at `key`, empty where there is none.
pub fn items<'a>(tree: &'a Tree, key: &str) -> &'a [Tree] {
    tree[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The list at `key` for writing, empty where there is none. Unlike indexing it adds nothing.
pub fn items_mut<'a>(tree: &'a mut Tree, key: &str) -> impl Iterator<Item = &'a mut Tree> {
    tree.get_mut(key).and_then(Tree::as_array_mut).into_iter().flatten()
}

/// Makes `to` have at `key` what `from` has there, which may be nothing.
pub fn copy_field(to: &mut Tree, from: &Tree, key: &str) {
    let Some(fields) = to.as_object_mut() else { return };
    match from.get(key) {
        Some(value) => fields.insert(key.into(), value.clone()),
        None => fields.remove(key),
    };
}

/// The text at `path` must be one of `allowed` (sorted, as upstream lists them).
pub fn enumeration(value: &str, allowed: &[&str], path: &Path<'_>, errors: &mut Errors) {
    if !allowed.contains(&value) {
        errors.push(FieldError::not_supported(path, value, allowed));
    }
}

pub fn non_negative(value: Option<i64>, path: &Path<'_>, errors: &mut Errors) {
    if let Some(n) = value.filter(|n| *n < 0) {
        errors.push(FieldError::invalid(path, n, "must be greater than or equal to 0"));
    }
}

pub fn immutable(new: &Tree, old: &Tree, path: &Path<'_>, errors: &mut Errors) {
    if new != old {
        errors.push(FieldError::invalid(path, new.clone(), "field is immutable"));
    }
}
