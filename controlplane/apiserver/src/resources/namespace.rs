//! Namespace: its phase, and the finalizer that keeps it until it is empty.

use super::{Column, Facts, ResourceType, STATUS, Subresource, age, column, name_cell};
use crate::validate::{Errors, Path, copy_field, items, text};
use coracle_proto::field::FieldError;
use coracle_proto::resource::NAMESPACES;
use coracle_proto::{Tree, meta, name};
use jiff::Timestamp;
use serde_json::{Value, json};

pub struct Namespaces;

/// Set on every new namespace; the namespace controller takes it away by the finalize subresource.
const FINALIZER: &str = "kubernetes";
/// Set by admission so that policies can select by name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

static FACTS: Facts = Facts::new(NAMESPACES, "namespace", "namespaces")
    .short_names(&["ns"])
    .subresources(&[Subresource { name: "finalize", group: "", version: "", kind: "", verbs: &["update"] }, STATUS])
    .status()
    .fields(&["status.phase"]);

static COLUMNS: [Column; 3] = [
    column("Name", "string", "Name must be unique."),
    column("Status", "string", "The status of the namespace."),
    column("Age", "string", "Time since creation."),
];

impl ResourceType for Namespaces {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn validate_name(&self, name: &str) -> Option<String> {
        name::dns1123_label(name)
    }

    fn set_defaults(&self, object: &mut Tree) {
        let name = meta::name(object).to_owned();
        if !name.is_empty() {
            let labels = meta::metadata_mut(object).entry("labels").or_insert_with(|| json!({}));
            if let Some(labels) = labels.as_object_mut() {
                labels.insert(NAME_LABEL.into(), name.into());
            }
        }
    }

    fn prepare_create(&self, object: &mut Tree) {
        object["status"] = json!({"phase": "Active"});
        let has = items(&object["spec"], "finalizers").iter().any(|f| f == FINALIZER);
        if !has {
            let spec = meta::entry_object(object, "spec");
            let list = spec.entry("finalizers").or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(FINALIZER.into());
            }
        }
    }

    /// `spec.finalizers` changes only by the finalize subresource.
    fn prepare_update(&self, new: &mut Tree, old: &Tree) {
        copy_field(new, old, "spec");
        copy_field(new, old, "status");
    }

    fn validate(&self, object: &Tree, errors: &mut Errors) {
        let (spec, list) = (Path::root("spec"), items(&object["spec"], "finalizers"));
        let path = spec.field("finalizers");
        for finalizer in list.iter().filter_map(Tree::as_str) {
            if let Some(why) = name::qualified_name(finalizer) {
                errors.push(FieldError::invalid(path, finalizer, why));
            } else if !finalizer.contains('/') && finalizer != FINALIZER {
                let why = "name is neither a standard finalizer name nor is it fully qualified";
                errors.push(FieldError::invalid(path, finalizer, why));
            }
        }
    }

    fn validate_status(&self, new: &Tree, _old: &Tree, errors: &mut Errors) {
        let (phase, path) = (text(&new["status"], "phase"), Path::root("status"));
        let wanted = if meta::is_deleting(new) { "Terminating" } else { "Active" };
        if phase != wanted {
            let why = if wanted == "Active" {
                "may only be 'Active' if `deletionTimestamp` is empty"
            } else {
                "may only be 'Terminating' if `deletionTimestamp` is not empty"
            };
            errors.push(FieldError::invalid(path.field("Phase"), phase, why));
        }
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Tree, now: Timestamp) -> Vec<Value> {
        vec![name_cell(object), text(&object["status"], "phase").into(), age(object, now)]
    }
}
