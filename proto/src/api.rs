//! What passes between the API and whoever uses it in process or over the node link: objects as shared bytes.

use crate::Tree;
use crate::selector::{FieldSelector, LabelSelector};
use crate::status::ApiError;
use bytes::Bytes;
use serde::de::DeserializeOwned;

/// One object at one revision: canonical JSON, `resourceVersion` included. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub revision: u64,
    pub json: Bytes,
}

impl Object {
    /// Decodes into a `k8s-openapi` type or a projection of one's own.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_slice(&self.json)
            .map_err(|e| ApiError::internal(format_args!("decoding a stored object: {e}")))
    }

    pub fn tree(&self) -> Result<Tree, ApiError> {
        self.parse()
    }
}

/// What to list or watch. The default is everything.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Empty: all namespaces, or a cluster-scoped resource.
    pub namespace: String,
    pub labels: LabelSelector,
    pub fields: FieldSelector,
    /// At most so many items; the rest follows by `continue_token`.
    pub limit: Option<usize>,
    pub continue_token: Option<String>,
    pub at: ReadAt,
}

/// How fresh a read must be: `resourceVersion` with `resourceVersionMatch`, see
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadAt {
    /// Linearizable.
    #[default]
    Latest,
    /// Whatever this server has (`resourceVersion=0`).
    Any,
    NotOlderThan(u64),
    Exact(u64),
}

#[derive(Clone, Debug, Default)]
pub struct ObjectList {
    /// The revision the list was read at: watch from here.
    pub revision: u64,
    pub items: Vec<Object>,
    pub continue_token: Option<String>,
    pub remaining: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    Added(Object),
    Modified(Object),
    /// The object's last state, at the revision of its deletion.
    Deleted(Object),
    /// Everything up to this revision has been seen.
    Bookmark(u64),
}
