//! How everything above the API server reads and writes: one object-safe trait.

use async_trait::async_trait;
use coracle_proto::{ApiError, ListOptions, Object, ObjectKey, ObjectList, Resource, Tree, WatchEvent};
use futures::stream::BoxStream;

/// An error ends the stream. `Expired` means: list again.
pub type WatchStream = BoxStream<'static, Result<WatchEvent, ApiError>>;

/// A patch body with its content type.
#[derive(Clone, Debug)]
pub enum Patch {
    /// RFC 6902.
    Json(Tree),
    /// RFC 7386.
    Merge(Tree),
    Strategic(Tree),
}

/// `metav1.DeleteOptions`, and the preconditions in it.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    pub grace_period_seconds: Option<i64>,
    pub propagation: Option<Propagation>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Orphan,
    Background,
    Foreground,
}

/// The API as one identity sees it: every call is authorised, admitted, validated. `subresource` is empty for the
/// object itself, else `status`, `scale`, `binding`, `eviction`, `token`, ….
#[async_trait]
pub trait ResourceApi: Send + Sync + 'static {
    async fn get(&self, resource: &Resource, key: &ObjectKey) -> Result<Object, ApiError>;

    async fn list(&self, resource: &Resource, options: &ListOptions) -> Result<ObjectList, ApiError>;

    /// Changes after `from`; `None` first yields everything that is there as `Added`, then a `Bookmark`.
    /// Of `options`, the namespace and the selectors count.
    async fn watch(
        &self,
        resource: &Resource,
        options: &ListOptions,
        from: Option<u64>,
    ) -> Result<WatchStream, ApiError>;

    /// Creates in `key.namespace`. `key.name` is empty, or names the parent where `subresource` is not empty.
    async fn create(
        &self,
        resource: &Resource,
        key: &ObjectKey,
        subresource: &str,
        body: Tree,
    ) -> Result<Object, ApiError>;

    /// Replaces. A `resourceVersion` in `body` is a precondition.
    async fn update(
        &self,
        resource: &Resource,
        key: &ObjectKey,
        subresource: &str,
        body: Tree,
    ) -> Result<Object, ApiError>;

    async fn patch(
        &self,
        resource: &Resource,
        key: &ObjectKey,
        subresource: &str,
        patch: Patch,
    ) -> Result<Object, ApiError>;

    /// The object as it was, or as it is while finalizers or a grace period hold it.
    async fn delete(&self, resource: &Resource, key: &ObjectKey, options: &DeleteOptions) -> Result<Object, ApiError>;
}
