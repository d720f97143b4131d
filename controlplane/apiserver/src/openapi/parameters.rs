//! Query parameters, with the operations that take them.

use super::definitions::Dialect;
use serde_json::{Value, json};

pub(super) struct Parameter {
    name: &'static str,
    kind: &'static str,
    description: &'static str,
}

const fn text(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, kind: "string", description }
}

const fn number(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, kind: "integer", description }
}

const fn flag(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, kind: "boolean", description }
}

pub(super) const PRETTY: Parameter = text("pretty", "Indent the output.");
const DRY_RUN: Parameter = text("dryRun", "`All`: do everything but keep the result.");
const FIELD_MANAGER: Parameter = text("fieldManager", "Who makes the change; at most 128 printable characters.");
const FIELD_VALIDATION: Parameter = text(
    "fieldValidation",
    "What to do about unknown and duplicate fields: `Ignore` them, `Warn` in the response's headers, or refuse the request (`Strict`).",
);
const LABELS: Parameter = text("labelSelector", "Only objects whose labels match.");
const FIELDS: Parameter = text("fieldSelector", "Only objects whose fields match.");
const LIMIT: Parameter = number("limit", "The most objects to return; the rest follows by `continue`.");
const CONTINUE: Parameter = text("continue", "Where the previous page ended.");
const VERSION: Parameter = text("resourceVersion", "How fresh the answer must be.");
const VERSION_MATCH: Parameter =
    text("resourceVersionMatch", "How `resourceVersion` is meant: `Exact` or `NotOlderThan`.");
const TIMEOUT: Parameter = number("timeoutSeconds", "When the server ends the request.");
const GRACE: Parameter = number("gracePeriodSeconds", "How long the object may take to end; 0: at once.");
const ORPHAN: Parameter = flag("orphanDependents", "Deprecated: use `propagationPolicy`.");
const PROPAGATION: Parameter =
    text("propagationPolicy", "What becomes of what the object owns: `Orphan`, `Background` or `Foreground`.");

pub(super) static LIST: [Parameter; 10] = [
    flag("allowWatchBookmarks", "Send bookmarks while watching."),
    CONTINUE,
    FIELDS,
    LABELS,
    LIMIT,
    VERSION,
    VERSION_MATCH,
    flag("sendInitialEvents", "Begin a watch with the objects there are."),
    TIMEOUT,
    flag("watch", "Watch for changes instead of listing."),
];
pub(super) static WRITE: [Parameter; 3] = [DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];
pub(super) static PATCH: [Parameter; 4] =
    [DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, flag("force", "Take over fields that others manage; for apply only.")];
pub(super) static DELETE: [Parameter; 4] = [DRY_RUN, GRACE, ORPHAN, PROPAGATION];
pub(super) static DELETE_COLLECTION: [Parameter; 11] =
    [CONTINUE, DRY_RUN, FIELDS, GRACE, LABELS, LIMIT, ORPHAN, PROPAGATION, VERSION, VERSION_MATCH, TIMEOUT];

pub(super) fn query(parameter: &Parameter, dialect: Dialect) -> Value {
    let Parameter { name, kind, description } = parameter;
    match dialect {
        Dialect::V2 => {
            json!({ "name": name, "in": "query", "type": kind, "description": description, "uniqueItems": true })
        }
        Dialect::V3 => json!({
            "name": name, "in": "query", "description": description, "schema": { "type": kind, "uniqueItems": true },
        }),
    }
}

pub(super) fn path(name: &str, description: &str, dialect: Dialect) -> Value {
    match dialect {
        Dialect::V2 => json!({
            "name": name, "in": "path", "required": true, "type": "string", "description": description,
            "uniqueItems": true,
        }),
        Dialect::V3 => json!({
            "name": name, "in": "path", "required": true, "description": description,
            "schema": { "type": "string", "uniqueItems": true },
        }),
    }
}
