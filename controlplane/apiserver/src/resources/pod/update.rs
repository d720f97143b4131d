//! What of a pod may change once it exists.

use crate::validate::{Errors, Path, copy_field, int, items, items_mut, text};
use coracle_proto::field::FieldError;
use coracle_proto::{Tree, name};
use serde_json::Value;

const SPEC: Path<'static> = Path::root("spec");
const MAY_CHANGE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub fn validate(new: &Tree, old: &Tree, errors: &mut Errors) {
    for field in ["containers", "initContainers"] {
        let (now, before) = (items(&new["spec"], field).len(), items(&old["spec"], field).len());
        if now != before {
            let why = format!(
                "pod updates may not add or remove {}",
                if field == "containers" { "containers" } else { "init containers" }
            );
            errors.push(FieldError::forbidden(SPEC.field(field), why));
            return;
        }
    }
    deadline(new, old, errors);
    tolerations(new, old, errors);
    gates(new, old, errors);
    let mut masked = new["spec"].clone();
    mask(&mut masked, &old["spec"]);
    if masked != old["spec"] {
        let changed = changes(&masked, &old["spec"]);
        errors.push(FieldError::forbidden(SPEC, format!("{MAY_CHANGE}\n{changed}")));
    }
}

/// Puts back what may change, so that what still differs may not.
fn mask(new: &mut Tree, old: &Tree) {
    for list in ["containers", "initContainers"] {
        let before = items(old, list).to_vec();
        for (container, before) in items_mut(new, list).zip(before) {
            copy_field(container, &before, "image");
        }
    }
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        copy_field(new, old, field);
    }
    // Gated pods are not scheduled yet: where they may go can still be narrowed.
    if !items(old, "schedulingGates").is_empty() {
        copy_field(new, old, "nodeSelector");
        copy_field(new, old, "affinity");
    }
    if int(new, "terminationGracePeriodSeconds") == 1 && int(old, "terminationGracePeriodSeconds") < 0 {
        copy_field(new, old, "terminationGracePeriodSeconds");
    }
}

/// The top-level fields that differ, one line each, old and new.
fn changes(new: &Tree, old: &Tree) -> String {
    let empty = serde_json::Map::new();
    let (new, old) = (new.as_object().unwrap_or(&empty), old.as_object().unwrap_or(&empty));
    let mut keys: Vec<&String> = new.keys().chain(old.keys()).collect();
    keys.sort();
    keys.dedup();
    let mut lines = Vec::new();
    for key in keys {
        let (now, before) = (new.get(key), old.get(key));
        if now != before {
            let show = |v: Option<&Value>| v.map_or("<unset>".into(), ToString::to_string);
            lines.push(format!("- {key}: {}\n+ {key}: {}", show(before), show(now)));
        }
    }
    lines.join("\n")
}

fn deadline(new: &Tree, old: &Tree, errors: &mut Errors) {
    let path = SPEC.field("activeDeadlineSeconds");
    let (now, before) = (new["spec"]["activeDeadlineSeconds"].as_i64(), old["spec"]["activeDeadlineSeconds"].as_i64());
    match (now, before) {
        (Some(now), Some(before)) if now > before => {
            errors.push(FieldError::invalid(path, now, "must be less than or equal to previous value"));
        }
        (None, Some(_)) => {
            errors.push(FieldError::invalid(path, Value::Null, "must not update from a positive integer to nil value"));
        }
        _ => {}
    }
}

fn tolerations(new: &Tree, old: &Tree, errors: &mut Errors) {
    let now = items(&new["spec"], "tolerations");
    let same = |a: &Tree, b: &Tree| ["key", "operator", "value", "effect"].iter().all(|f| text(a, f) == text(b, f));
    for kept in items(&old["spec"], "tolerations") {
        if !now.iter().any(|t| same(t, kept)) {
            let why = "existing toleration can not be modified except its tolerationSeconds";
            errors.push(FieldError::forbidden(SPEC.field("tolerations"), why));
            return;
        }
    }
}

fn gates(new: &Tree, old: &Tree, errors: &mut Errors) {
    let before = items(&old["spec"], "schedulingGates");
    for gate in items(&new["spec"], "schedulingGates") {
        if !before.contains(gate) {
            let why = format!("only deletion is allowed, but found new scheduling gate '{}'", text(gate, "name"));
            errors.push(FieldError::forbidden(SPEC.field("schedulingGates"), why));
        }
    }
}

/// A container that ended may not come back where the restart policy says so.
pub fn validate_status(new: &Tree, old: &Tree, errors: &mut Errors) {
    let node = text(&new["status"], "nominatedNodeName");
    if let Some(why) = Some(node).filter(|n| !n.is_empty()).and_then(name::dns1123_subdomain) {
        errors.push(FieldError::invalid("status.nominatedNodeName", node, why));
    }
    if text(&old["spec"], "restartPolicy") != "Never" {
        return;
    }
    let statuses = Path::root("status");
    let list = statuses.field("containerStatuses");
    for (at, status) in items(&new["status"], "containerStatuses").iter().enumerate() {
        let before = items(&old["status"], "containerStatuses").iter().find(|b| b["name"] == status["name"]);
        let ended = before.is_some_and(|b| b["state"]["terminated"].is_object());
        if ended && !status["state"]["terminated"].is_object() {
            let path = list.index(at);
            errors.push(FieldError::forbidden(path.field("state"), "may not be transitioned to non-terminated state"));
        }
    }
}
