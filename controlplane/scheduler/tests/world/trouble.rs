//! An API where something gets in the way of a pod's first binding.

use async_trait::async_trait;
use coracle_client::{DeleteOptions, Patch, ResourceApi, WatchStream};
use coracle_proto::resource::PODS;
use coracle_proto::{ApiError, ListOptions, Object, ObjectKey, ObjectList, Resource, Tree};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub struct Troubled {
    /// The scheduler's.
    pub api: Arc<dyn ResourceApi>,
    /// An administrator's.
    pub admin: Arc<dyn ResourceApi>,
    pub trouble: Trouble,
    pub over: AtomicBool,
}

pub enum Trouble {
    /// Somebody else binds the pod to this node.
    BoundTo(&'static str),
    /// The API server refuses.
    Refused,
    /// The pod is deleted and made again under its name, as given.
    Reborn(Tree),
}

impl Troubled {
    async fn strike(&self, key: &ObjectKey) -> Result<(), ApiError> {
        match &self.trouble {
            Trouble::BoundTo(node) => {
                let binding = serde_json::json!({
                    "apiVersion": "v1", "kind": "Binding", "metadata": {"name": key.name},
                    "target": {"kind": "Node", "name": node},
                });
                self.admin.create(&PODS, key, "binding", binding).await.map(drop)
            }
            Trouble::Refused => Err(ApiError::internal("the store is away")),
            Trouble::Reborn(pod) => {
                let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
                self.admin.delete(&PODS, key, &now).await?;
                let home = ObjectKey::new(key.namespace.clone(), "");
                self.admin.create(&PODS, &home, "", pod.clone()).await.map(drop)
            }
        }
    }
}

#[async_trait]
impl ResourceApi for Troubled {
    async fn get(&self, resource: &Resource, key: &ObjectKey) -> Result<Object, ApiError> {
        self.api.get(resource, key).await
    }

    async fn list(&self, resource: &Resource, options: &ListOptions) -> Result<ObjectList, ApiError> {
        self.api.list(resource, options).await
    }

    async fn watch(
        &self,
        resource: &Resource,
        options: &ListOptions,
        from: Option<u64>,
    ) -> Result<WatchStream, ApiError> {
        self.api.watch(resource, options, from).await
    }

    async fn create(
        &self,
        resource: &Resource,
        key: &ObjectKey,
        subresource: &str,
        body: Tree,
    ) -> Result<Object, ApiError> {
        if subresource == "binding" && !self.over.swap(true, Ordering::SeqCst) {
            self.strike(key).await?;
        }
        self.api.create(resource, key, subresource, body).await
    }

    async fn update(
        &self,
        resource: &Resource,
        key: &ObjectKey,
        subresource: &str,
        body: Tree,
    ) -> Result<Object, ApiError> {
        self.api.update(resource, key, subresource, body).await
    }

    async fn patch(
        &self,
        resource: &Resource,
        key: &ObjectKey,
        subresource: &str,
        patch: Patch,
    ) -> Result<Object, ApiError> {
        self.api.patch(resource, key, subresource, patch).await
    }

    async fn delete(&self, resource: &Resource, key: &ObjectKey, options: &DeleteOptions) -> Result<Object, ApiError> {
        self.api.delete(resource, key, options).await
    }
}
