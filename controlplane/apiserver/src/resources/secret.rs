//! Secret: base64 data with a type, and the keys some types require.

use super::config_map::{keep_immutable, value_size};
use super::{Column, Facts, ResourceType, age, column, name_cell};
use crate::limits::MAX_DATA;
use crate::validate::{Errors, Path, immutable, text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_proto::field::FieldError;
use coracle_proto::resource::SECRETS;
use coracle_proto::{Tree, meta, name};
use jiff::Timestamp;
use serde_json::Value;

pub struct Secrets;

static FACTS: Facts = Facts::new(SECRETS, "secret", "secrets").fields(&["type"]);

/// Which account a token secret is for.
const ACCOUNT: &str = "kubernetes.io/service-account.name";

static COLUMNS: [Column; 4] = [
    column("Name", "string", "Name must be unique within a namespace."),
    column("Type", "string", "Used to facilitate programmatic handling of secret data."),
    column("Data", "string", "Number of data entries."),
    column("Age", "string", "Time since creation."),
];

impl ResourceType for Secrets {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    /// `stringData` is write-only: it overrides `data` and is not kept.
    fn set_defaults(&self, object: &mut Tree) {
        let Some(Value::Object(plain)) = object.as_object_mut().and_then(|o| o.remove("stringData")) else { return };
        let data = meta::entry_object(object, "data");
        for (key, value) in plain {
            data.insert(key, STANDARD.encode(value.as_str().unwrap_or_default()).into());
        }
    }

    fn validate(&self, object: &Tree, errors: &mut Errors) {
        let data = Path::root("data");
        let mut size = 0;
        for (key, value) in object["data"].as_object().into_iter().flatten() {
            if let Some(why) = name::config_key(key) {
                errors.push(FieldError::invalid(data.key(key), key.as_str(), why));
            }
            size += value_size(value, true);
        }
        if size > MAX_DATA {
            errors.push(FieldError::too_long(data, MAX_DATA));
        }
        required_keys(object, errors);
    }

    fn validate_update(&self, new: &Tree, old: &Tree, errors: &mut Errors) {
        immutable(&new["type"], &old["type"], &Path::root("type"), errors);
        keep_immutable(new, old, &["data"], errors);
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Tree, now: Timestamp) -> Vec<Value> {
        let count = object["data"].as_object().map_or(0, serde_json::Map::len);
        vec![name_cell(object), text(object, "type").into(), count.into(), age(object, now)]
    }
}

fn required_keys(object: &Tree, errors: &mut Errors) {
    let data = Path::root("data");
    let missing = |key: &str| object["data"].get(key).is_none();
    let json = |key: &str, errors: &mut Errors| {
        let decoded = object["data"][key].as_str().and_then(|v| STANDARD.decode(v).ok()).unwrap_or_default();
        if missing(key) {
            errors.push(FieldError::required(data.key(key), ""));
        } else if serde_json::from_slice::<Value>(&decoded).is_err() {
            errors.push(FieldError::invalid(data.key(key), "<secret contents redacted>", "must be valid JSON"));
        }
    };
    match text(object, "type") {
        "kubernetes.io/service-account-token" if meta::annotation(object, ACCOUNT).is_none_or(str::is_empty) => {
            errors.push(FieldError::required(Path::root("metadata").field("annotations").key(ACCOUNT), ""));
        }
        "kubernetes.io/dockercfg" => json(".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => json(".dockerconfigjson", errors),
        "kubernetes.io/basic-auth" if missing("username") && missing("password") => {
            errors.push(FieldError::required(data.key("username"), ""));
            errors.push(FieldError::required(data.key("password"), ""));
        }
        "kubernetes.io/ssh-auth" if missing("ssh-privatekey") => {
            errors.push(FieldError::required(data.key("ssh-privatekey"), ""));
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if missing(key) {
                    errors.push(FieldError::required(data.key(key), ""));
                }
            }
        }
        _ => {}
    }
}
