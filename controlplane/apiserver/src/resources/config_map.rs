//! ConfigMap: plain data, one MiB of it.

use super::{Column, Facts, ResourceType, age, column, name_cell};
use crate::limits::MAX_DATA;
use crate::validate::{Errors, Path, immutable};
use coracle_proto::field::FieldError;
use coracle_proto::resource::CONFIG_MAPS;
use coracle_proto::{Tree, name};
use jiff::Timestamp;
use serde_json::Value;

pub struct ConfigMaps;

static FACTS: Facts = Facts::new(CONFIG_MAPS, "configmap", "configmaps").short_names(&["cm"]);

static COLUMNS: [Column; 3] = [
    column("Name", "string", "Name must be unique within a namespace."),
    column("Data", "string", "Number of data and binaryData entries."),
    column("Age", "string", "Time since creation."),
];

impl ResourceType for ConfigMaps {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn validate(&self, object: &Tree, errors: &mut Errors) {
        let mut size = 0;
        for field in ["data", "binaryData"] {
            let path = Path::root(field);
            for (key, value) in object[field].as_object().into_iter().flatten() {
                if let Some(why) = name::config_key(key) {
                    errors.push(FieldError::invalid(path.key(key), key.as_str(), why));
                }
                size += value_size(value, field == "binaryData");
            }
        }
        for key in object["data"].as_object().into_iter().flatten().map(|(key, _)| key) {
            if object["binaryData"].get(key).is_some() {
                let path = Path::root("data");
                errors.push(FieldError::invalid(path.key(key), key.as_str(), "duplicate of key present in binaryData"));
            }
        }
        if size > MAX_DATA {
            errors.push(FieldError::too_long("", MAX_DATA));
        }
    }

    fn validate_update(&self, new: &Tree, old: &Tree, errors: &mut Errors) {
        keep_immutable(new, old, &["data", "binaryData"], errors);
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Tree, now: Timestamp) -> Vec<Value> {
        let count = |field: &str| object[field].as_object().map_or(0, serde_json::Map::len);
        vec![name_cell(object), (count("data") + count("binaryData")).into(), age(object, now)]
    }
}

/// Bytes of a value, base64 undone without decoding.
pub(super) fn value_size(value: &Tree, base64: bool) -> usize {
    let text = value.as_str().unwrap_or_default();
    if base64 { text.trim_end_matches('=').len() * 3 / 4 } else { text.len() }
}

/// The rules of `immutable: true`, for ConfigMaps and Secrets.
pub(super) fn keep_immutable(new: &Tree, old: &Tree, fields: &'static [&'static str], errors: &mut Errors) {
    if old["immutable"] != true {
        return;
    }
    let why = "field is immutable when `immutable` is set";
    if new["immutable"] != true {
        errors.push(FieldError::forbidden("immutable", why));
    }
    for field in fields {
        let mut changed = Errors::new();
        immutable(&new[*field], &old[*field], &Path::root(field), &mut changed);
        if !changed.is_empty() {
            errors.push(FieldError::forbidden(*field, why));
        }
    }
}
