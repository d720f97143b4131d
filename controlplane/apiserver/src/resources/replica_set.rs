//! ReplicaSet: a number of equal pods.

use super::{Column, Facts, ResourceType, SCALE, STATUS, age, column, name_cell, wide, workload};
use crate::validate::{Errors, Path, immutable, int, non_negative, optional_int};
use coracle_proto::Tree;
use coracle_proto::field::FieldError;
use coracle_proto::resource::REPLICA_SETS;
use jiff::Timestamp;
use serde_json::{Value, json};

pub struct ReplicaSets;

static FACTS: Facts = Facts::new(REPLICA_SETS, "replicaset", "replicasets.apps")
    .short_names(&["rs"])
    .categories(&["all"])
    .subresources(&[SCALE, STATUS])
    .generation()
    .status()
    .fields(&["status.replicas"]);

static COLUMNS: [Column; 8] = [
    column("Name", "string", "Name must be unique within a namespace."),
    column("Desired", "integer", "Replicas wanted."),
    column("Current", "integer", "Replicas there are."),
    column("Ready", "integer", "Replicas that are ready."),
    column("Age", "string", "Time since creation."),
    wide("Containers", "string", "Names of each container in the template."),
    wide("Images", "string", "Images referenced by each container in the template."),
    wide("Selector", "string", "A label query over pods that should match the replica count."),
];

impl ResourceType for ReplicaSets {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn set_defaults(&self, object: &mut Tree) {
        workload::set_template_defaults(object);
    }

    fn prepare_create(&self, object: &mut Tree) {
        object["status"] = json!({"replicas": 0});
    }

    fn validate(&self, object: &Tree, errors: &mut Errors) {
        workload::validate(object, "deployment", errors);
    }

    fn validate_update(&self, new: &Tree, old: &Tree, errors: &mut Errors) {
        let path = workload::SPEC.field("selector");
        immutable(&new["spec"]["selector"], &old["spec"]["selector"], &path, errors);
    }

    fn validate_status(&self, new: &Tree, _old: &Tree, errors: &mut Errors) {
        let (status, path) = (&new["status"], Path::root("status"));
        let replicas = int(status, "replicas");
        for field in ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"] {
            non_negative(optional_int(status, field), &path.field(field), errors);
        }
        for field in ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
            if int(status, field) > replicas {
                let why = "cannot be greater than status.replicas";
                errors.push(FieldError::invalid(path.field(field), int(status, field), why));
            }
        }
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Tree, now: Timestamp) -> Vec<Value> {
        let status = &object["status"];
        let mut row = vec![
            name_cell(object),
            int(&object["spec"], "replicas").into(),
            int(status, "replicas").into(),
            int(status, "readyReplicas").into(),
            age(object, now),
        ];
        row.extend(workload::wide_cells(object));
        row
    }
}
