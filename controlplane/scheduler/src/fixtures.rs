//! Pods and nodes for tests, projected from JSON as the API serves it.

use crate::explanation::Refusal;
use crate::plugins::Check;
use crate::snapshot::Snapshot;
use coracle_client::facts::{Meta, NodeFacts, PodFacts, Project};
use coracle_proto::Object;
use serde_json::{Value, json};
use std::sync::Arc;

fn project<T: Project>(tree: &Value) -> Arc<T> {
    let object = Object { revision: 1, json: tree.to_string().into() };
    Arc::new(T::project(&object).expect("a well-formed object"))
}

/// Its UID is its name.
pub fn pod(name: &str, spec: Value) -> Arc<PodFacts> {
    labelled_pod("default", name, json!({}), spec)
}

pub fn labelled_pod(namespace: &str, name: &str, labels: Value, spec: Value) -> Arc<PodFacts> {
    pod_from(json!({"metadata": {"name": name, "namespace": namespace, "uid": name, "labels": labels}, "spec": spec}))
}

pub fn pod_from(tree: Value) -> Arc<PodFacts> {
    project(&tree)
}

pub fn node(name: &str, spec: Value, allocatable: Value) -> Arc<NodeFacts> {
    node_from(json!({"metadata": {"name": name}, "spec": spec, "status": {"allocatable": allocatable}}))
}

pub fn labelled_node(name: &str, labels: Value) -> Arc<NodeFacts> {
    let status = json!({"allocatable": {"cpu": "4", "memory": "4Gi", "pods": "10"}});
    node_from(json!({"metadata": {"name": name, "labels": labels}, "status": status}))
}

/// Images by name, with their sizes in megabytes.
pub fn node_with_images(name: &str, images: &[(&str, i64)]) -> Arc<NodeFacts> {
    let image = |(name, size): &(&str, i64)| json!({"names": [name], "sizeBytes": size * 1024 * 1024});
    let images: Vec<Value> = images.iter().map(image).collect();
    node_from(json!({"metadata": {"name": name}, "status": {"images": images}}))
}

pub fn node_from(tree: Value) -> Arc<NodeFacts> {
    project(&tree)
}

pub fn namespace(name: &str, labels: Value) -> Arc<Meta> {
    project(&json!({"metadata": {"name": name, "labels": labels}}))
}

/// What a filter says of each node, in their order; `None` where the node passes.
pub fn verdicts(check: Option<Check<'_>>, snapshot: &Snapshot<'_>) -> Vec<Option<Refusal>> {
    snapshot.nodes.iter().map(|node| check.as_ref().and_then(|check| check(node).err())).collect()
}
