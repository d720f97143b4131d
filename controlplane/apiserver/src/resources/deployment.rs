//! Deployment: ReplicaSets over time.

use super::{Column, Facts, ResourceType, SCALE, STATUS, age, column, name_cell, wide, workload};
use crate::validate::{Errors, Path, immutable, int, non_negative, optional_int, text};
use coracle_proto::Tree;
use coracle_proto::field::FieldError;
use coracle_proto::resource::DEPLOYMENTS;
use jiff::Timestamp;
use serde_json::{Value, json};

pub struct Deployments;

static FACTS: Facts = Facts::new(DEPLOYMENTS, "deployment", "deployments.apps")
    .short_names(&["deploy"])
    .categories(&["all"])
    .subresources(&[SCALE, STATUS])
    .generation()
    .status();

static COLUMNS: [Column; 8] = [
    column("Name", "string", "Name must be unique within a namespace."),
    column("Ready", "string", "Replicas that are ready, of those wanted."),
    column("Up-to-date", "string", "Replicas of the newest template."),
    column("Available", "string", "Replicas that have been ready long enough."),
    column("Age", "string", "Time since creation."),
    wide("Containers", "string", "Names of each container in the template."),
    wide("Images", "string", "Images referenced by each container in the template."),
    wide("Selector", "string", "Label selector for pods."),
];

impl ResourceType for Deployments {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn set_defaults(&self, object: &mut Tree) {
        workload::set_template_defaults(object);
        if text(&object["spec"]["strategy"], "type") != "RollingUpdate" {
            return;
        }
        let rolling = &mut object["spec"]["strategy"]["rollingUpdate"];
        for field in ["maxUnavailable", "maxSurge"] {
            if rolling[field].is_null() {
                rolling[field] = json!("25%");
            }
        }
    }

    fn prepare_create(&self, object: &mut Tree) {
        object["status"] = json!({});
    }

    fn validate(&self, object: &Tree, errors: &mut Errors) {
        workload::validate(object, "deployment", errors);
        let spec = &object["spec"];
        validate_strategy(&spec["strategy"], errors);
        let path = workload::SPEC.field("revisionHistoryLimit");
        non_negative(optional_int(spec, "revisionHistoryLimit"), &path, errors);
        if let Some(deadline) = optional_int(spec, "progressDeadlineSeconds") {
            let path = workload::SPEC.field("progressDeadlineSeconds");
            non_negative(Some(deadline), &path, errors);
            if deadline <= int(spec, "minReadySeconds") {
                errors.push(FieldError::invalid(path, deadline, "must be greater than minReadySeconds"));
            }
        }
    }

    fn validate_update(&self, new: &Tree, old: &Tree, errors: &mut Errors) {
        let path = workload::SPEC.field("selector");
        immutable(&new["spec"]["selector"], &old["spec"]["selector"], &path, errors);
    }

    fn validate_status(&self, new: &Tree, _old: &Tree, errors: &mut Errors) {
        let (status, path) = (&new["status"], Path::root("status"));
        let fields = [
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
        ];
        for field in fields {
            non_negative(optional_int(status, field), &path.field(field), errors);
        }
        for field in ["updatedReplicas", "readyReplicas", "availableReplicas"] {
            if int(status, field) > int(status, "replicas") {
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
            format!("{}/{}", int(status, "readyReplicas"), int(&object["spec"], "replicas")).into(),
            int(status, "updatedReplicas").into(),
            int(status, "availableReplicas").into(),
            age(object, now),
        ];
        row.extend(workload::wide_cells(object));
        row
    }
}

fn validate_strategy(strategy: &Tree, errors: &mut Errors) {
    let path = workload::SPEC.field("strategy");
    let rolling = &strategy["rollingUpdate"];
    match text(strategy, "type") {
        "Recreate" if !rolling.is_null() => {
            let why = "may not be specified when strategy `type` is 'Recreate'";
            errors.push(FieldError::forbidden(path.field("rollingUpdate"), why));
        }
        "Recreate" => {}
        "RollingUpdate" if rolling.is_null() => {
            errors.push(FieldError::required(path.field("rollingUpdate"), "this should be defaulted and never be nil"));
        }
        "RollingUpdate" => validate_rolling(rolling, &path.field("rollingUpdate"), errors),
        other => errors.push(FieldError::not_supported(path.field("type"), other, &["Recreate", "RollingUpdate"])),
    }
}

fn validate_rolling(rolling: &Tree, path: &Path<'_>, errors: &mut Errors) {
    let mut zero = true;
    for field in ["maxUnavailable", "maxSurge"] {
        let (value, path) = (&rolling[field], path.field(field));
        match amount(value) {
            Some(amount) => {
                zero &= amount == 0;
                let percent = value.is_string();
                if amount < 0 {
                    errors.push(FieldError::invalid(path, value.clone(), "must be greater than or equal to 0"));
                } else if percent && amount > 100 && field == "maxUnavailable" {
                    errors.push(FieldError::invalid(path, value.clone(), "must not be greater than 100%"));
                }
            }
            None => {
                zero = false;
                let why = "must be an integer or percentage (e.g '5%')";
                errors.push(FieldError::invalid(path, value.clone(), why));
            }
        }
    }
    if zero {
        let why = "may not be 0 when `maxSurge` is 0";
        errors.push(FieldError::invalid(path.field("maxUnavailable"), rolling["maxUnavailable"].clone(), why));
    }
}

/// An integer, or the number before `%`.
fn amount(value: &Tree) -> Option<i64> {
    match value {
        Tree::Number(n) => n.as_i64(),
        Tree::String(s) => {
            let digits = s.strip_suffix('%')?;
            (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
        }
        _ => None,
    }
}
