//! What one cycle decides on: borrowed from the world, unchanged while the cycle runs.

use crate::images::Images;
use crate::node::NodeState;
use coracle_client::facts::Labels;
use std::collections::HashMap;
use std::sync::Arc;

/// Labels of namespaces, by name.
pub type Namespaces = HashMap<Box<str>, Arc<Labels>>;

pub struct Snapshot<'a> {
    /// Ordered by name.
    pub nodes: Vec<&'a NodeState>,
    pub namespaces: &'a Namespaces,
    pub images: &'a Images,
}

static UNLABELLED: Labels = Labels::new();

impl Snapshot<'_> {
    /// A namespace nobody has described has no labels.
    pub fn namespace_labels(&self, name: &str) -> &Labels {
        self.namespaces.get(name).map_or(&UNLABELLED, AsRef::as_ref)
    }
}
