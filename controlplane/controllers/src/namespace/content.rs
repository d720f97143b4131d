//! Deletes what a namespace holds, kind by kind, and counts what is left.

use super::Namespaces;
use super::plan::{Content, Kind};
use coracle_client::{DeleteOptions, Propagation};
use coracle_proto::{ApiError, ListOptions, ObjectKey, Resource, meta};

impl Namespaces {
    /// Every kind is tried, whatever happens to the others.
    pub(super) async fn empty(&self, namespace: &str) -> Content {
        let mut content = Content::default();
        for resource in (self.context.config.resources)() {
            // The same events are served by both groups.
            if !resource.namespaced || (resource.plural == "events" && !resource.group.is_empty()) {
                continue;
            }
            let mut kind = Kind::default();
            if let Err(e) = self.empty_of(namespace, &resource, &mut kind).await {
                kind.failure = Some(e);
            }
            if !kind.is_gone() {
                content.kinds.insert(format!("{}.{}", resource.plural, resource.group), kind);
            }
        }
        content
    }

    async fn empty_of(&self, namespace: &str, resource: &Resource, kind: &mut Kind) -> Result<(), ApiError> {
        let options = ListOptions { namespace: namespace.into(), ..ListOptions::default() };
        for object in self.context.api.list(resource, &options).await?.items {
            let tree = object.tree()?;
            let gone = !meta::is_deleting(&tree) && self.delete_one(resource, &tree).await?;
            if !gone {
                kind.remaining += 1;
                for finalizer in meta::finalizers(&tree) {
                    *kind.finalizers.entry(finalizer.to_owned()).or_default() += 1;
                }
            }
        }
        Ok(())
    }

    /// Whether it is gone at once, rather than held by a finalizer or a grace period.
    async fn delete_one(&self, resource: &Resource, tree: &coracle_proto::Tree) -> Result<bool, ApiError> {
        let key = ObjectKey::of(tree);
        let options = DeleteOptions {
            propagation: Some(Propagation::Background),
            uid: Some(meta::uid(tree).to_owned()),
            ..DeleteOptions::default()
        };
        match self.context.api.delete(resource, &key, &options).await {
            Ok(_) => {}
            Err(e) if e.is_not_found() => return Ok(true),
            Err(e) => return Err(e),
        }
        match self.context.api.get(resource, &key).await {
            Ok(_) => Ok(false),
            Err(e) if e.is_not_found() => Ok(true),
            Err(e) => Err(e),
        }
    }
}
