//! `metadata` of every kind: upstream's `ValidateObjectMeta` and `ValidateObjectMetaUpdate`.

use super::{Errors, Path, immutable, items, labels, text};
use crate::limits::MAX_ANNOTATIONS;
use crate::resources::ResourceType;
use coracle_proto::Tree;
use coracle_proto::field::FieldError;
use coracle_proto::name;

const META: Path<'static> = Path::root("metadata");
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

/// Checks `metadata` of a new object or of one about to replace another.
pub fn metadata(kind: &dyn ResourceType, object: &Tree, errors: &mut Errors) {
    let meta = &object["metadata"];
    let name = text(meta, "name");
    let prefix = text(meta, "generateName");
    if !prefix.is_empty()
        && let Some(why) = kind.validate_name(&mask_trailing_dash(prefix))
    {
        errors.push(FieldError::invalid(META.field("generateName"), prefix, why));
    }
    if name.is_empty() {
        errors.push(FieldError::required(META.field("name"), "name or generateName is required"));
    } else if let Some(why) = kind.validate_name(name) {
        errors.push(FieldError::invalid(META.field("name"), name, why));
    }
    namespace(kind, text(meta, "namespace"), errors);
    labels(&meta["labels"], &META.field("labels"), errors);
    annotations(&meta["annotations"], errors);
    owners(items(meta, "ownerReferences"), errors);
    finalizers(items(meta, "finalizers"), errors);
}

/// A prefix may end in a dash, as something will follow it.
fn mask_trailing_dash(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => format!("{rest}a"),
        _ => prefix.into(),
    }
}

fn namespace(kind: &dyn ResourceType, namespace: &str, errors: &mut Errors) {
    let path = META.field("namespace");
    match (kind.facts().resource.namespaced, namespace) {
        (true, "") => errors.push(FieldError::required(path, "")),
        (true, _) => {
            if let Some(why) = name::dns1123_label(namespace) {
                errors.push(FieldError::invalid(path, namespace, why));
            }
        }
        (false, "") => {}
        (false, _) => errors.push(FieldError::forbidden(path, "not allowed on this type")),
    }
}

fn annotations(map: &Tree, errors: &mut Errors) {
    let path = META.field("annotations");
    let mut size = 0;
    for (key, value) in map.as_object().into_iter().flatten() {
        if let Some(why) = name::qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid(path, key.as_str(), why));
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > MAX_ANNOTATIONS {
        errors.push(FieldError::too_long(path, MAX_ANNOTATIONS));
    }
}

fn owners(owners: &[Tree], errors: &mut Errors) {
    let list = META.field("ownerReferences");
    let mut controller: Option<&Tree> = None;
    for (at, owner) in owners.iter().enumerate() {
        let path = list.index(at);
        for field in ["apiVersion", "kind", "name", "uid"] {
            if text(owner, field).is_empty() {
                let why = if field == "apiVersion" { "version must not be empty" } else { "must not be empty" };
                errors.push(FieldError::invalid(path.field(field), text(owner, field), why));
            }
        }
        if text(owner, "kind") == "Event" && text(owner, "apiVersion") == "v1" {
            let why = "/v1, Kind=Event is disallowed from being an owner";
            errors.push(FieldError::invalid(list, owner.clone(), why));
        }
        if owner["controller"] == true {
            if let Some(first) = controller {
                let why = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {}/{} and {}/{}",
                    text(first, "kind"),
                    text(first, "name"),
                    text(owner, "kind"),
                    text(owner, "name"),
                );
                errors.push(FieldError::invalid(list, Tree::Array(owners.to_vec()), why));
            }
            controller = Some(owner);
        }
    }
}

fn finalizers(finalizers: &[Tree], errors: &mut Errors) {
    let list = META.field("finalizers");
    let names = || finalizers.iter().filter_map(Tree::as_str);
    for (at, finalizer) in names().enumerate() {
        if let Some(why) = name::qualified_name(finalizer) {
            errors.push(FieldError::invalid(list, finalizer, why));
        } else if !finalizer.contains('/') && !STANDARD_FINALIZERS.contains(&finalizer) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(list.index(at), finalizer, why));
        }
    }
    if names().any(|f| f == "orphan") && names().any(|f| f == "foregroundDeletion") {
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(FieldError::invalid(list, Tree::Array(finalizers.to_vec()), why));
    }
}

/// What of `metadata` an update may not change.
pub fn metadata_update(new: &Tree, old: &Tree, errors: &mut Errors) {
    let (new, old) = (&new["metadata"], &old["metadata"]);
    for field in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        immutable(&new[field], &old[field], &META.field(field), errors);
    }
    // Once an object is being deleted its finalizers may only go.
    if old["deletionTimestamp"].is_string() {
        let before = items(old, "finalizers");
        let added: Vec<&Tree> = items(new, "finalizers").iter().filter(|f| !before.contains(f)).collect();
        if !added.is_empty() {
            let list: Vec<&str> = added.iter().filter_map(|f| f.as_str()).collect();
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                list.iter().map(|f| format!("{f:?}")).collect::<Vec<_>>().join(", ")
            );
            errors.push(FieldError::forbidden(META.field("finalizers"), why));
        }
    }
}
