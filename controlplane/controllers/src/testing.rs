//! Facts from JSON, for tables.

use coracle_client::facts::Project;
use coracle_client::{Meta, PodFacts};
use coracle_proto::{Object, Tree};
use serde_json::json;
use std::sync::Arc;

pub(crate) fn project<T: Project>(tree: &Tree) -> T {
    let object = Object { revision: coracle_proto::meta::revision(tree), json: tree.to_string().into() };
    T::project(&object).expect("test objects are well formed")
}

/// From `metadata` alone.
pub(crate) fn meta(metadata: Tree) -> Meta {
    project(&json!({"metadata": metadata}))
}

pub(crate) fn pod(tree: &Tree) -> Arc<PodFacts> {
    Arc::new(project(tree))
}
