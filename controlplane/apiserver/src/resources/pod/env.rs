//! Environment variables of a container.

use crate::validate::{Errors, Path, text};
use coracle_proto::field::FieldError;
use coracle_proto::quantity::Quantity;
use coracle_proto::{Tree, name};

/// Fields of a pod that a variable may show, sorted; beside them `metadata.labels['k']` and `metadata.annotations['k']`.
const POD_FIELDS: [&str; 8] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.podIP",
    "status.podIPs",
];
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const SOURCES: [&str; 4] = ["configMapKeyRef", "fieldRef", "resourceFieldRef", "secretKeyRef"];

pub fn validate(list: &[Tree], parent: &Path<'_>, errors: &mut Errors) {
    for (at, variable) in list.iter().enumerate() {
        let path = parent.index(at);
        let variable_name = text(variable, "name");
        if variable_name.is_empty() {
            errors.push(FieldError::required(path.field("name"), ""));
        } else if let Some(why) = name::env_name(variable_name) {
            errors.push(FieldError::invalid(path.field("name"), variable_name, why));
        }
        if !variable["valueFrom"].is_null() {
            source(variable, &path.field("valueFrom"), errors);
        }
    }
}

fn source(variable: &Tree, path: &Path<'_>, errors: &mut Errors) {
    let from = &variable["valueFrom"];
    let named: Vec<&str> = SOURCES.into_iter().filter(|s| !from[*s].is_null()).collect();
    if named.is_empty() {
        let why = "must specify one of: `configMapKeyRef`, `fieldRef`, `resourceFieldRef` or `secretKeyRef`";
        errors.push(FieldError::invalid(path, "", why));
    } else if !text(variable, "value").is_empty() {
        errors.push(FieldError::invalid(path, "", "may not be specified when `value` is not empty"));
    } else if named.len() > 1 {
        errors.push(FieldError::invalid(path, "", "may not have more than one field specified at a time"));
    }
    for kind in named {
        let (source, path) = (&from[kind], path.field(kind));
        match kind {
            "fieldRef" => field_ref(source, &POD_FIELDS, &path, errors),
            "resourceFieldRef" => resource_ref(source, false, &path, errors),
            _ => key_ref(source, &path, errors),
        }
    }
}

fn key_ref(source: &Tree, path: &Path<'_>, errors: &mut Errors) {
    if text(source, "name").is_empty() {
        errors.push(FieldError::required(path.field("name"), ""));
    }
    let key = text(source, "key");
    if key.is_empty() {
        errors.push(FieldError::required(path.field("key"), ""));
    } else if let Some(why) = name::config_key(key) {
        errors.push(FieldError::invalid(path.field("key"), key, why));
    }
}

/// Whether `path` names one key of labels or annotations: `metadata.labels['k']`.
fn subscript(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("metadata.labels").or_else(|| path.strip_prefix("metadata.annotations"))?;
    rest.strip_prefix("['")?.strip_suffix("']")
}

/// A downward API field; volumes allow others than variables.
pub(super) fn field_ref(source: &Tree, allowed: &[&str], path: &Path<'_>, errors: &mut Errors) {
    let version = text(source, "apiVersion");
    if version.is_empty() {
        errors.push(FieldError::required(path.field("apiVersion"), ""));
    } else if version != "v1" {
        let why = format!("unsupported pod version: {version}");
        errors.push(FieldError::invalid(path.field("fieldPath"), text(source, "fieldPath"), why));
        return;
    }
    let field = text(source, "fieldPath");
    if field.is_empty() {
        errors.push(FieldError::required(path.field("fieldPath"), ""));
    } else if let Some(key) = subscript(field) {
        if let Some(why) = name::qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid(path, key, why));
        }
    } else if !allowed.contains(&field) {
        errors.push(FieldError::not_supported(path.field("fieldPath"), field, allowed));
    }
}

/// An amount of a container; `volume` requires the container's name.
pub(super) fn resource_ref(source: &Tree, volume: bool, path: &Path<'_>, errors: &mut Errors) {
    if volume && text(source, "containerName").is_empty() {
        errors.push(FieldError::required(path.field("containerName"), ""));
    }
    let resource = text(source, "resource");
    if resource.is_empty() {
        errors.push(FieldError::required(path.field("resource"), ""));
    } else if !RESOURCES.contains(&resource)
        && !resource.starts_with("limits.hugepages-")
        && !resource.starts_with("requests.hugepages-")
    {
        errors.push(FieldError::not_supported(path.field("resource"), resource, &RESOURCES));
    }
    let divisor = text(source, "divisor");
    if !divisor.is_empty() && divisor != "0" {
        divisor_fits(resource, divisor, &path.field("divisor"), errors);
    }
}

fn divisor_fits(resource: &str, divisor: &str, path: &Path<'_>, errors: &mut Errors) {
    let cpu = resource.ends_with(".cpu");
    let known: &[&str] = if cpu {
        &["1m", "1"]
    } else {
        &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"]
    };
    let canonical = Quantity::parse(divisor).map(|q| q.to_string()).unwrap_or_else(|_| divisor.into());
    if !known.contains(&canonical.as_str()) {
        let why = if cpu {
            "only divisor's values 1m and 1 are supported with the cpu resource"
        } else {
            "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the memory resource"
        };
        errors.push(FieldError::invalid(path, divisor, why));
    }
}

pub fn validate_from(list: &[Tree], parent: &Path<'_>, errors: &mut Errors) {
    for (at, source) in list.iter().enumerate() {
        let path = parent.index(at);
        let prefix = text(source, "prefix");
        if let Some(why) = Some(prefix).filter(|p| !p.is_empty()).and_then(name::env_name) {
            errors.push(FieldError::invalid(path.field("prefix"), prefix, why));
        }
        let named: Vec<&str> = ["configMapRef", "secretRef"].into_iter().filter(|s| !source[*s].is_null()).collect();
        match named.as_slice() {
            [] => {
                let why = "must specify one of: `configMapRef` or `secretRef`";
                errors.push(FieldError::invalid(path, "", why));
            }
            [_] => {}
            _ => errors.push(FieldError::invalid(path, "", "may not have more than one field specified at a time")),
        }
        for kind in named {
            let path = path.field(kind);
            let source_name = text(&source[kind], "name");
            if source_name.is_empty() {
                errors.push(FieldError::required(path.field("name"), ""));
            } else if let Some(why) = name::dns1123_subdomain(source_name) {
                errors.push(FieldError::invalid(path.field("name"), source_name, why));
            }
        }
    }
}

/// What a downward API volume may show.
pub(super) const VOLUME_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// One file of a downward API volume or source.
pub(super) fn downward_item(item: &Tree, path: &Path<'_>, errors: &mut Errors) {
    let (field, resource) = (&item["fieldRef"], &item["resourceFieldRef"]);
    match (field.is_null(), resource.is_null()) {
        (false, true) => field_ref(field, &VOLUME_FIELDS, &path.field("fieldRef"), errors),
        (true, false) => resource_ref(resource, true, &path.field("resourceFieldRef"), errors),
        (true, true) => errors.push(FieldError::required(path, "one of fieldRef and resourceFieldRef is required")),
        (false, false) => {
            let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
            errors.push(FieldError::invalid(path, "resource", why));
        }
    }
}
