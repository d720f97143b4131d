//! Node: a machine that runs pods.

use super::{Column, Facts, ResourceType, STATUS, age, column, name_cell, wide};
use crate::validate::{Errors, Path, copy_field, enumeration, immutable, items, text};
use coracle_proto::field::FieldError;
use coracle_proto::quantity::Quantity;
use coracle_proto::resource::NODES;
use coracle_proto::{Tree, meta, name};
use jiff::Timestamp;
use serde_json::{Value, json};

pub struct Nodes;

static FACTS: Facts = Facts::new(NODES, "node", "nodes")
    .short_names(&["no"])
    .subresources(&[STATUS])
    .status()
    .fields(&["spec.unschedulable"]);

static COLUMNS: [Column; 10] = [
    column("Name", "string", "Name must be unique."),
    column("Status", "string", "The status of the node."),
    column("Roles", "string", "The roles of the node."),
    column("Age", "string", "Time since creation."),
    column("Version", "string", "The agent's version."),
    wide("Internal-IP", "string", "The address other nodes reach it at."),
    wide("External-IP", "string", "The address the world reaches it at."),
    wide("OS-Image", "string", "The operating system."),
    wide("Kernel-Version", "string", "The kernel."),
    wide("Container-Runtime", "string", "The container runtime and its version."),
];

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";

impl ResourceType for Nodes {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    /// A node registers together with its first status.
    fn prepare_create(&self, object: &mut Tree) {
        if object["status"].is_null() {
            object["status"] = json!({});
        }
    }

    fn validate(&self, object: &Tree, errors: &mut Errors) {
        let (spec, status) = (Path::root("spec"), Path::root("status"));
        taints(items(&object["spec"], "taints"), &spec.field("taints"), errors);
        for cidr in items(&object["spec"], "podCIDRs").iter().filter_map(Tree::as_str) {
            if cidr.parse::<ipnet::IpNet>().is_err() {
                let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
                errors.push(FieldError::invalid(spec.field("podCIDRs"), cidr, why));
            }
        }
        for field in ["capacity", "allocatable"] {
            let path = status.field(field);
            for (key, value) in object["status"][field].as_object().into_iter().flatten() {
                match Quantity::parse(value.as_str().unwrap_or_default()) {
                    Err(why) => errors.push(FieldError::invalid(path.key(key), value.clone(), why.to_string())),
                    Ok(q) if q.is_negative() => {
                        let why = "must be greater than or equal to 0";
                        errors.push(FieldError::invalid(path.key(key), value.clone(), why));
                    }
                    Ok(_) => {}
                }
            }
        }
    }

    fn validate_update(&self, new: &Tree, old: &Tree, errors: &mut Errors) {
        let spec = Path::root("spec");
        let (new, old) = (&new["spec"], &old["spec"]);
        for field in ["podCIDRs", "providerID"] {
            if !old[field].is_null() && new[field] != old[field] {
                let why = "node updates may not change podCIDR except from \"\" to valid";
                let why = if field == "podCIDRs" {
                    why
                } else {
                    "node updates may not change providerID except from \"\" to valid"
                };
                errors.push(FieldError::forbidden(spec.field(field), why));
            }
        }
        if !old["externalID"].is_null() {
            immutable(&new["externalID"], &old["externalID"], &spec.field("externalID"), errors);
        }
    }

    /// An agent may also change labels and annotations with its status.
    fn with_status(&self, new: &Tree, old: &Tree) -> Tree {
        let mut merged = old.clone();
        copy_field(&mut merged, new, "status");
        for field in ["labels", "annotations"] {
            copy_field(&mut merged["metadata"], &new["metadata"], field);
        }
        merged
    }

    fn field(&self, object: &Tree, path: &str) -> String {
        match path {
            "spec.unschedulable" => (object["spec"]["unschedulable"] == true).to_string(),
            "metadata.name" => meta::name(object).into(),
            _ => String::new(),
        }
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Tree, now: Timestamp) -> Vec<Value> {
        let info = |key: &str| match text(&object["status"]["nodeInfo"], key) {
            "" => Value::from("<unknown>"),
            known => known.into(),
        };
        let address = |kind: &str| {
            let mut list = items(&object["status"], "addresses").iter();
            let found = list.find(|a| text(a, "type") == kind).map(|a| text(a, "address"));
            Value::from(found.unwrap_or("<none>"))
        };
        vec![
            name_cell(object),
            status(object).into(),
            roles(object).into(),
            age(object, now),
            text(&object["status"]["nodeInfo"], "kubeletVersion").into(),
            address("InternalIP"),
            address("ExternalIP"),
            info("osImage"),
            info("kernelVersion"),
            info("containerRuntimeVersion"),
        ]
    }
}

fn status(node: &Tree) -> String {
    let ready = items(&node["status"], "conditions").iter().find(|c| text(c, "type") == "Ready");
    let mut status = match ready.map(|c| text(c, "status")) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".into(),
        None => "Unknown".into(),
    };
    if node["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn roles(node: &Tree) -> String {
    let mut roles = Vec::new();
    for (key, value) in meta::labels(node) {
        if let Some(role) = key.strip_prefix(ROLE_PREFIX).filter(|r| !r.is_empty()) {
            roles.push(role.to_owned());
        } else if key == "kubernetes.io/role" && !value.is_empty() {
            roles.push(value);
        }
    }
    roles.sort();
    roles.dedup();
    if roles.is_empty() { "<none>".into() } else { roles.join(",") }
}

fn taints(taints: &[Tree], list: &Path<'_>, errors: &mut Errors) {
    let mut seen = std::collections::BTreeSet::new();
    for (at, taint) in taints.iter().enumerate() {
        let path = list.index(at);
        let (key, effect) = (text(taint, "key"), text(taint, "effect"));
        if let Some(why) = name::qualified_name(key) {
            errors.push(FieldError::invalid(path.field("key"), key, why));
        }
        if let Some(why) = name::label_value(text(taint, "value")) {
            errors.push(FieldError::invalid(path.field("value"), text(taint, "value"), why));
        }
        if effect.is_empty() {
            errors.push(FieldError::required(path.field("effect"), ""));
        } else {
            let known = ["NoExecute", "NoSchedule", "PreferNoSchedule"];
            enumeration(effect, &known, &path.field("effect"), errors);
        }
        if !seen.insert((key, effect)) {
            errors.push(FieldError::duplicate(path, taint.clone()));
        }
    }
}
