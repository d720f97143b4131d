//! `resources` of a container: requests and limits.

use crate::validate::{Errors, Path};
use coracle_proto::field::FieldError;
use coracle_proto::quantity::Quantity;
use coracle_proto::{Tree, name};

pub fn validate(resources: &Tree, path: &Path<'_>, errors: &mut Errors) {
    let (limits, requests) = (path.field("limits"), path.field("requests"));
    for (key, value) in resources["limits"].as_object().into_iter().flatten() {
        amount(key, value, &limits.key(key), errors);
    }
    for (key, value) in resources["requests"].as_object().into_iter().flatten() {
        let Some(request) = amount(key, value, &requests.key(key), errors) else { continue };
        let limit = resources["limits"].get(key).and_then(|l| Quantity::parse(l.as_str()?).ok());
        let overcommit = is_native(key) && !key.starts_with("hugepages-");
        match limit {
            Some(limit) if !overcommit && !same(request, limit) => {
                let why = format!("must be equal to {key} limit of {limit}");
                errors.push(FieldError::invalid(requests, value.clone(), why));
            }
            Some(limit) if greater(request, limit) => {
                let why = format!("must be less than or equal to {key} limit of {limit}");
                errors.push(FieldError::invalid(requests, value.clone(), why));
            }
            None if !overcommit && !request.is_zero() => {
                errors.push(FieldError::required(limits, "Limit must be set for non overcommitable resources"));
            }
            _ => {}
        }
    }
}

fn amount(key: &str, value: &Tree, path: &Path<'_>, errors: &mut Errors) -> Option<Quantity> {
    resource_name(key, path, errors);
    let quantity = match Quantity::parse(value.as_str().unwrap_or_default()) {
        Ok(quantity) => quantity,
        Err(why) => {
            errors.push(FieldError::invalid(path, value.clone(), why.to_string()));
            return None;
        }
    };
    if quantity.is_negative() {
        errors.push(FieldError::invalid(path, value.clone(), "must be greater than or equal to 0"));
    }
    if !is_native(key) && !quantity.is_whole() {
        errors.push(FieldError::invalid(path, value.clone(), "must be an integer"));
    }
    Some(quantity)
}

fn resource_name(key: &str, path: &Path<'_>, errors: &mut Errors) {
    if let Some(why) = name::qualified_name(key) {
        errors.push(FieldError::invalid(path, key, why));
    } else if !key.contains('/') && !is_native(key) {
        errors.push(FieldError::invalid(path, key, "must be a standard resource type or fully qualified"));
        errors.push(FieldError::invalid(path, key, "must be a standard resource for containers"));
    }
}

fn is_native(key: &str) -> bool {
    matches!(key, "cpu" | "memory" | "ephemeral-storage") || key.starts_with("hugepages-")
}

/// By amount alone, whatever the suffix.
fn greater(a: Quantity, b: Quantity) -> bool {
    let difference = a.saturating_sub(b);
    !difference.is_negative() && !difference.is_zero()
}

fn same(a: Quantity, b: Quantity) -> bool {
    a.saturating_sub(b).is_zero()
}
