//! Labels and label selectors.

use super::{Errors, Path, items, text};
use coracle_proto::Tree;
use coracle_proto::field::FieldError;
use coracle_proto::name;

/// A map of labels, as in `metadata.labels` or `matchLabels`.
pub fn labels(map: &Tree, path: &Path<'_>, errors: &mut Errors) {
    for (key, value) in map.as_object().into_iter().flatten() {
        if let Some(why) = name::qualified_name(key) {
            errors.push(FieldError::invalid(path, key.as_str(), why));
        }
        let value = value.as_str().unwrap_or_default();
        if let Some(why) = name::label_value(value) {
            errors.push(FieldError::invalid(path, value, why));
        }
    }
}

/// A `metav1.LabelSelector`.
pub fn label_selector(selector: &Tree, path: &Path<'_>, errors: &mut Errors) {
    labels(&selector["matchLabels"], &path.field("matchLabels"), errors);
    let list = path.field("matchExpressions");
    for (at, expression) in items(selector, "matchExpressions").iter().enumerate() {
        requirement(expression, &list.index(at), errors);
    }
}

fn requirement(expression: &Tree, path: &Path<'_>, errors: &mut Errors) {
    let (key, values) = (text(expression, "key"), items(expression, "values"));
    match text(expression, "operator") {
        "In" | "NotIn" if values.is_empty() => {
            let why = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(FieldError::required(path.field("values"), why));
        }
        "In" | "NotIn" => {}
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(path.field("values"), why));
        }
        "Exists" | "DoesNotExist" => {}
        other => errors.push(FieldError::invalid(path.field("operator"), other, "not a valid selector operator")),
    }
    if let Some(why) = name::qualified_name(key) {
        errors.push(FieldError::invalid(path.field("key"), key, why));
    }
    let list = path.field("values");
    for (at, value) in values.iter().enumerate() {
        let value = value.as_str().unwrap_or_default();
        if let Some(why) = name::label_value(value) {
            errors.push(FieldError::invalid(list.index(at), value, why));
        }
    }
}
