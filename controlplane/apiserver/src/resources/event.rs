//! Event: one storage behind core/v1 and events.k8s.io/v1, which name the same fields differently.

use super::{Column, Facts, ResourceType, column, name_cell, wide};
use crate::validate::{Errors, Path, int, text};
use coracle_proto::field::FieldError;
use coracle_proto::resource::{EVENTS, EVENTS_V1};
use coracle_proto::{Tree, meta, name};
use jiff::Timestamp;
use serde_json::{Map, Value};

/// core/v1, the stored form.
pub struct Events;

/// events.k8s.io/v1.
pub struct EventsV1;

const STORAGE: &str = "events";

static FACTS: Facts = Facts::new(EVENTS, "event", STORAGE)
    .short_names(&["ev"])
    .fields(&[
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ])
    .create_on_update();

static FACTS_V1: Facts = Facts::new(EVENTS_V1, "event", STORAGE)
    .short_names(&["ev"])
    .fields(&[
        "regarding.kind",
        "regarding.namespace",
        "regarding.name",
        "regarding.uid",
        "regarding.apiVersion",
        "regarding.resourceVersion",
        "regarding.fieldPath",
        "reason",
        "reportingController",
        "type",
    ])
    .create_on_update();

/// (core/v1, events.k8s.io/v1)
const RENAMED: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

static COLUMNS: [Column; 10] = [
    column("Last Seen", "string", "The time of the latest occurrence."),
    column("Type", "string", "Normal or Warning."),
    column("Reason", "string", "Why the event was made, in one word."),
    column("Object", "string", "What the event is about."),
    wide("Subobject", "string", "The part of the object the event is about."),
    wide("Source", "string", "The component that reported the event."),
    column("Message", "string", "What happened."),
    wide("First Seen", "string", "The time of the first occurrence."),
    wide("Count", "string", "How often it happened."),
    Column { name: "Name", kind: "string", format: "name", priority: 1, description: "The event's own name." },
];

const MAX_NOTE: usize = 1024;
const MAX_REASON: usize = 128;

impl ResourceType for Events {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn validate(&self, event: &Tree, errors: &mut Errors) {
        validate_stored(event, errors);
    }

    fn field(&self, object: &Tree, path: &str) -> String {
        let path = match path {
            "source" => "source.component",
            other => other,
        };
        let found = path.split('.').fold(object, |tree, step| &tree[step]);
        match (path, found.as_str()) {
            ("source.component", None) => text(object, "reportingComponent").into(),
            (_, found) => found.unwrap_or_default().into(),
        }
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Tree, now: Timestamp) -> Vec<Value> {
        row(object, now)
    }
}

impl ResourceType for EventsV1 {
    fn facts(&self) -> &'static Facts {
        &FACTS_V1
    }

    /// Called on the stored form.
    fn validate(&self, event: &Tree, errors: &mut Errors) {
        validate_stored(event, errors);
        let path = Path::root("reportingController");
        if text(event, "reportingComponent").is_empty() {
            errors.push(FieldError::required(path, ""));
        }
        if text(event, "reportingInstance").is_empty() {
            errors.push(FieldError::required("reportingInstance", ""));
        }
        for field in ["action", "reason"] {
            let value = text(event, field);
            if value.is_empty() {
                errors.push(FieldError::required(field, ""));
            } else if value.len() > MAX_REASON {
                errors.push(FieldError::invalid(field, "", format!("can have at most {MAX_REASON} characters")));
            }
        }
        if text(event, "message").len() > MAX_NOTE {
            errors.push(FieldError::invalid("note", "", format!("can have at most {MAX_NOTE} characters")));
        }
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Tree, now: Timestamp) -> Vec<Value> {
        let mut stored = object.clone();
        self.to_storage(&mut stored);
        row(&stored, now)
    }

    fn to_storage(&self, object: &mut Tree) {
        rename(object, "v1", |(core, v1)| (v1, core));
    }

    fn to_served(&self, object: &mut Tree) {
        rename(object, "events.k8s.io/v1", |(core, v1)| (core, v1));
    }

    fn served_as_stored(&self) -> bool {
        false
    }
}

type Pair = (&'static str, &'static str);

fn rename(object: &mut Tree, api_version: &str, direction: fn(Pair) -> Pair) {
    let Some(fields) = object.as_object_mut() else { return };
    fields.insert("apiVersion".into(), api_version.into());
    let moved: Map<String, Value> = RENAMED
        .into_iter()
        .map(direction)
        .filter_map(|(from, to)| Some((to.to_owned(), fields.remove(from)?)))
        .collect();
    fields.extend(moved);
}

fn validate_stored(event: &Tree, errors: &mut Errors) {
    let involved = text(&event["involvedObject"], "namespace");
    let namespace = meta::namespace(event);
    let path = Path::root("involvedObject");
    let agrees =
        if involved.is_empty() { matches!(namespace, "default" | "kube-system") } else { involved == namespace };
    if !agrees {
        let why = "does not match event.namespace";
        errors.push(FieldError::invalid(path.field("namespace"), involved, why));
    }
    if let Some(why) = name::dns1123_subdomain(namespace) {
        errors.push(FieldError::invalid("namespace", namespace, why));
    }
}

fn row(event: &Tree, now: Timestamp) -> Vec<Value> {
    let (first, last) = (event["firstTimestamp"].as_str(), event["lastTimestamp"].as_str());
    let micro = event["eventTime"].as_str();
    let first_seen = super::table::since(first.or(micro), now);
    let (mut last_seen, mut count) =
        (if last.is_some() { super::table::since(last, now) } else { first_seen.clone() }, int(event, "count"));
    if let Some(at) = event["series"]["lastObservedTime"].as_str() {
        last_seen = super::table::since(Some(at), now);
        count = int(&event["series"], "count");
    } else if count == 0 {
        count = 1;
    }
    let object = &event["involvedObject"];
    let target = format!("{}/{}", text(object, "kind").to_lowercase(), text(object, "name"));
    vec![
        last_seen,
        text(event, "type").into(),
        text(event, "reason").into(),
        target.trim_end_matches('/').into(),
        text(object, "fieldPath").into(),
        source(event).into(),
        text(event, "message").trim().into(),
        first_seen,
        count.to_string().into(),
        name_cell(event),
    ]
}

fn source(event: &Tree) -> String {
    let component = Some(text(&event["source"], "component")).filter(|c| !c.is_empty());
    let component = component.unwrap_or(text(event, "reportingComponent"));
    match text(&event["source"], "host") {
        "" => component.into(),
        host => format!("{component}, {host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_two_forms_convert_without_loss() {
        let stored = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "default"},
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}, "message": "m", "reason": "r",
            "source": {"component": "c"}, "count": 2, "firstTimestamp": "2026-01-01T00:00:00Z",
            "lastTimestamp": "2026-01-01T00:00:01Z", "reportingComponent": "c", "reportingInstance": "i",
            "type": "Normal",
        });
        let mut served = stored.clone();
        EventsV1.to_served(&mut served);
        assert_eq!(served["regarding"]["name"], "p");
        assert_eq!(served["note"], "m");
        assert_eq!(served["deprecatedSource"]["component"], "c");
        assert_eq!(served["apiVersion"], "events.k8s.io/v1");
        assert!(served.get("involvedObject").is_none() && served.get("message").is_none());
        EventsV1.to_storage(&mut served);
        assert_eq!(served, stored);
    }
}
