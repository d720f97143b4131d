//! Lease: a heartbeat or a lock.

use super::{Column, Facts, ResourceType, age, column, name_cell};
use crate::validate::{Errors, Path, optional_int, text};
use coracle_proto::Tree;
use coracle_proto::field::FieldError;
use coracle_proto::resource::LEASES;
use jiff::Timestamp;
use serde_json::Value;

pub struct Leases;

static FACTS: Facts = Facts::new(LEASES, "lease", "leases.coordination.k8s.io").create_on_update();

static COLUMNS: [Column; 3] = [
    column("Name", "string", "Name must be unique within a namespace."),
    column("Holder", "string", "The identity of the holder of a current lease."),
    column("Age", "string", "Time since creation."),
];

impl ResourceType for Leases {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn validate(&self, object: &Tree, errors: &mut Errors) {
        let spec = Path::root("spec");
        if let Some(seconds) = optional_int(&object["spec"], "leaseDurationSeconds").filter(|s| *s <= 0) {
            errors.push(FieldError::invalid(spec.field("leaseDurationSeconds"), seconds, "must be greater than 0"));
        }
        if let Some(count) = optional_int(&object["spec"], "leaseTransitions").filter(|s| *s < 0) {
            let why = "must be greater than or equal to 0";
            errors.push(FieldError::invalid(spec.field("leaseTransitions"), count, why));
        }
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Tree, now: Timestamp) -> Vec<Value> {
        vec![name_cell(object), text(&object["spec"], "holderIdentity").into(), age(object, now)]
    }
}
