//! The registry as one identity sees it, in process.

use super::{Call, Registry, WatchFrom};
use crate::user::UserInfo;
use crate::{catalog, codec};
use async_trait::async_trait;
use coracle_client::{DeleteOptions, Patch, ResourceApi, WatchStream};
use coracle_proto::api::ReadAt;
use coracle_proto::schema::decode::FieldValidation;
use coracle_proto::status::Reason;
use coracle_proto::{ApiError, ListOptions, Object, ObjectKey, ObjectList, Resource, Tree};
use coracle_store::Term;
use std::sync::Arc;

struct Client {
    registry: Arc<Registry>,
    user: UserInfo,
    term: Option<Term>,
}

impl Registry {
    pub fn client(self: &Arc<Self>, user: UserInfo) -> Arc<dyn ResourceApi> {
        Arc::new(Client { registry: self.clone(), user, term: None })
    }

    /// For parts that run only where the leader is: their writes fail once `term` is over.
    pub fn client_in_term(self: &Arc<Self>, user: UserInfo, term: Term) -> Arc<dyn ResourceApi> {
        Arc::new(Client { registry: self.clone(), user, term: Some(term) })
    }
}

impl Client {
    fn call<'a>(&'a self, resource: &Resource, key: &ObjectKey, subresource: &'a str) -> Result<Call<'a>, ApiError> {
        let kind = catalog::of(resource).ok_or_else(|| unknown(resource))?;
        check_key(kind.facts().resource.namespaced, key)?;
        Ok(Call { term: self.term, ..Call::new(&self.user, kind, key.clone()).with_subresource(subresource) })
    }

    /// Callers in process build their trees from types, so only the shape is made canonical.
    fn body(&self, call: &Call<'_>, body: Tree) -> Result<Tree, ApiError> {
        if !matches!(call.subresource, "" | "status") {
            return Ok(body);
        }
        Ok(codec::check(call.resource(), body, FieldValidation::Ignore)?.tree)
    }
}

/// Over HTTP the path has parted names already. Here they come as they are, and a slash would make another object's key.
fn check_key(namespaced: bool, key: &ObjectKey) -> Result<(), ApiError> {
    for part in [&key.namespace, &key.name] {
        if part.contains(['/', '%']) || part == "." || part == ".." {
            return Err(ApiError::bad_request(format!("{part:?} cannot be a name or a namespace")));
        }
    }
    if namespaced && key.namespace.is_empty() && !key.name.is_empty() {
        return Err(ApiError::bad_request("an empty namespace may not be set when a resource name is provided"));
    }
    Ok(())
}

fn unknown(resource: &Resource) -> ApiError {
    ApiError::new(
        Reason::NotFound,
        format!("the server could not find the requested resource ({})", resource.qualified()),
    )
}

#[async_trait]
impl ResourceApi for Client {
    async fn get(&self, resource: &Resource, key: &ObjectKey) -> Result<Object, ApiError> {
        self.registry.get(&self.call(resource, key, "")?, ReadAt::Latest).await
    }

    async fn list(&self, resource: &Resource, options: &ListOptions) -> Result<ObjectList, ApiError> {
        let key = ObjectKey::new(options.namespace.as_str(), "");
        self.registry.list(&self.call(resource, &key, "")?, options).await
    }

    async fn watch(
        &self,
        resource: &Resource,
        options: &ListOptions,
        from: Option<u64>,
    ) -> Result<WatchStream, ApiError> {
        let key = ObjectKey::new(options.namespace.as_str(), "");
        let from = from.map_or(WatchFrom::State(ReadAt::Latest), WatchFrom::After);
        self.registry.watch(&self.call(resource, &key, "")?, options, from).await
    }

    async fn create(
        &self,
        resource: &Resource,
        key: &ObjectKey,
        subresource: &str,
        body: Tree,
    ) -> Result<Object, ApiError> {
        let call = self.call(resource, key, subresource)?;
        let body = self.body(&call, body)?;
        self.registry.create(&call, body).await
    }

    async fn update(
        &self,
        resource: &Resource,
        key: &ObjectKey,
        subresource: &str,
        body: Tree,
    ) -> Result<Object, ApiError> {
        let call = self.call(resource, key, subresource)?;
        let body = self.body(&call, body)?;
        self.registry.update(&call, body).await.map(|outcome| outcome.object)
    }

    async fn patch(
        &self,
        resource: &Resource,
        key: &ObjectKey,
        subresource: &str,
        patch: Patch,
    ) -> Result<Object, ApiError> {
        self.registry.patch(&self.call(resource, key, subresource)?, &patch).await
    }

    async fn delete(&self, resource: &Resource, key: &ObjectKey, options: &DeleteOptions) -> Result<Object, ApiError> {
        self.registry.delete(&self.call(resource, key, "")?, options).await.map(|deleted| deleted.object)
    }
}
