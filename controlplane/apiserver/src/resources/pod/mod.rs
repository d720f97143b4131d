//! Pod: containers that share a fate. The largest kind, so a folder.

mod columns;
mod container;
mod defaults;
mod env;
mod probe;
mod qos;
mod quantities;
mod scheduling;
mod security;
mod spec;
mod update;
mod volume;

pub use defaults::set_spec_defaults;
pub use qos::qos_class;
pub use spec::validate_spec;

use super::{Column, Facts, ResourceType, STATUS, Subresource};
use crate::validate::{Errors, Path, copy_field, text};
use coracle_proto::resource::PODS;
use coracle_proto::{Tree, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

pub struct Pods;

const STREAM: [&str; 2] = ["create", "get"];

const fn stream(name: &'static str, kind: &'static str) -> Subresource {
    Subresource { name, group: "", version: "", kind, verbs: &STREAM }
}

static FACTS: Facts = Facts::new(PODS, "pod", "pods")
    .short_names(&["po"])
    .categories(&["all"])
    .subresources(&[
        stream("attach", "PodAttachOptions"),
        Subresource { name: "binding", group: "", version: "", kind: "Binding", verbs: &["create"] },
        Subresource { name: "eviction", group: "policy", version: "v1", kind: "Eviction", verbs: &["create"] },
        stream("exec", "PodExecOptions"),
        Subresource { name: "log", group: "", version: "", kind: "", verbs: &["get"] },
        stream("portforward", "PodPortForwardOptions"),
        STATUS,
    ])
    .generation()
    .status()
    .fields(&[
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ])
    .returns_deleted();

impl ResourceType for Pods {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn set_defaults(&self, object: &mut Tree) {
        if object["spec"].is_object() {
            set_spec_defaults(&mut object["spec"]);
        }
    }

    fn prepare_create(&self, object: &mut Tree) {
        let qos = qos_class(&object["spec"]);
        object["status"] = json!({"phase": "Pending", "qosClass": qos});
        if !object["spec"]["schedulingGates"].as_array().is_none_or(Vec::is_empty) {
            object["status"]["conditions"] = json!([{
                "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
                "lastProbeTime": null, "lastTransitionTime": null,
            }]);
        }
    }

    fn validate(&self, object: &Tree, errors: &mut Errors) {
        validate_spec(&object["spec"], &Path::root("spec"), errors);
    }

    fn validate_update(&self, new: &Tree, old: &Tree, errors: &mut Errors) {
        update::validate(new, old, errors);
    }

    /// An agent may also change labels and annotations with the status; the QoS class stays.
    fn with_status(&self, new: &Tree, old: &Tree) -> Tree {
        let mut merged = old.clone();
        copy_field(&mut merged, new, "status");
        if !merged["status"].is_object() {
            merged["status"] = json!({});
        }
        let qos = &old["status"]["qosClass"];
        merged["status"]["qosClass"] = if qos.is_null() { qos_class(&old["spec"]).into() } else { qos.clone() };
        for field in ["labels", "annotations"] {
            copy_field(&mut merged["metadata"], &new["metadata"], field);
        }
        merged
    }

    fn validate_status(&self, new: &Tree, old: &Tree, errors: &mut Errors) {
        update::validate_status(new, old, errors);
    }

    fn field(&self, object: &Tree, path: &str) -> String {
        match path {
            "spec.hostNetwork" => (object["spec"]["hostNetwork"] == true).to_string(),
            "metadata.name" => meta::name(object).into(),
            "metadata.namespace" => meta::namespace(object).into(),
            _ => path.split_once('.').map(|(part, field)| text(&object[part], field)).unwrap_or_default().into(),
        }
    }

    fn columns(&self) -> &'static [Column] {
        &columns::COLUMNS
    }

    fn row(&self, object: &Tree, now: Timestamp) -> Vec<Value> {
        columns::row(object, now)
    }
}
