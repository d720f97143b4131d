//! Pods and nodes for tests, projected from JSON as the API serves it.

use coracle_client::facts::{NodeFacts, PodFacts, Project};
use coracle_proto::Object;
use serde_json::{Value, json};
use std::sync::Arc;

fn project<T: Project>(tree: &Value) -> Arc<T> {
    let object = Object { revision: 1, json: tree.to_string().into() };
    Arc::new(T::project(&object).expect("a well-formed object"))
}

/// Its UID is its name.
pub fn pod(name: &str, spec: Value) -> Arc<PodFacts> {
    project(&json!({"metadata": {"name": name, "namespace": "default", "uid": name}, "spec": spec}))
}

pub fn node(name: &str, spec: Value, allocatable: Value) -> Arc<NodeFacts> {
    project(&json!({"metadata": {"name": name}, "spec": spec, "status": {"allocatable": allocatable}}))
}

pub fn labelled_node(name: &str, labels: Value) -> Arc<NodeFacts> {
    let status = json!({"allocatable": {"cpu": "4", "memory": "4Gi", "pods": "10"}});
    project(&json!({"metadata": {"name": name, "labels": labels}, "status": status}))
}
