//! An API that misbehaves: it dies after so many writes, or its watches lag and break.

use async_trait::async_trait;
use coracle_client::{DeleteOptions, Patch, ResourceApi, WatchStream};
use coracle_proto::{ApiError, ListOptions, Object, ObjectKey, ObjectList, Resource, Tree};
use futures::StreamExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

pub struct Faulty {
    pub api: Arc<dyn ResourceApi>,
    /// Writes left before it is dead. The one that kills it still happens, but nobody hears of it.
    pub writes: AtomicUsize,
    /// How late watches tell.
    pub lag: Duration,
    /// After so many events a watch is too old.
    pub breaks_after: usize,
    /// Why creations of a resource are refused.
    refuse: fn(&Resource) -> Option<ApiError>,
    refused: AtomicUsize,
    relented: AtomicBool,
}

impl Faulty {
    fn sound(api: Arc<dyn ResourceApi>) -> Self {
        Self {
            api,
            writes: AtomicUsize::new(usize::MAX),
            lag: Duration::ZERO,
            breaks_after: usize::MAX,
            refuse: |_| None,
            refused: AtomicUsize::new(0),
            relented: AtomicBool::new(false),
        }
    }

    pub fn dying_after(api: Arc<dyn ResourceApi>, writes: usize) -> Arc<Self> {
        Arc::new(Self { writes: AtomicUsize::new(writes), ..Self::sound(api) })
    }

    pub fn refusing(api: Arc<dyn ResourceApi>, refuse: fn(&Resource) -> Option<ApiError>) -> Arc<Self> {
        Arc::new(Self { refuse, ..Self::sound(api) })
    }

    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    /// Refuses nothing any more.
    pub fn relent(&self) {
        self.relented.store(true, Ordering::SeqCst);
    }

    pub fn lagging(api: Arc<dyn ResourceApi>, lag: Duration, breaks_after: usize) -> Arc<Self> {
        Arc::new(Self { lag, breaks_after, ..Self::sound(api) })
    }

    pub fn is_dead(&self) -> bool {
        self.writes.load(Ordering::SeqCst) == 0
    }

    /// Whether this write may happen, and whether it is the last.
    fn spend(&self) -> Result<bool, ApiError> {
        let spent = self.writes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        spent.map(|before| before == 1).map_err(|_| ApiError::timeout("dead"))
    }

    async fn write<T>(&self, write: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
        let last = self.spend()?;
        let done = write.await;
        if last { Err(ApiError::timeout("died after the write")) } else { done }
    }
}

#[async_trait]
impl ResourceApi for Faulty {
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
        let (lag, stream) = (self.lag, self.api.watch(resource, options, from).await?);
        let late = stream.then(move |event| async move {
            tokio::time::sleep(lag).await;
            event
        });
        let broken = futures::stream::once(async { Err(ApiError::expired("too old resource version")) });
        Ok(late.take(self.breaks_after).chain(broken).boxed())
    }

    async fn create(
        &self,
        resource: &Resource,
        key: &ObjectKey,
        subresource: &str,
        body: Tree,
    ) -> Result<Object, ApiError> {
        if let Some(e) = (self.refuse)(resource).filter(|_| !self.relented.load(Ordering::SeqCst)) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(e);
        }
        self.write(self.api.create(resource, key, subresource, body)).await
    }

    async fn update(
        &self,
        resource: &Resource,
        key: &ObjectKey,
        subresource: &str,
        body: Tree,
    ) -> Result<Object, ApiError> {
        self.write(self.api.update(resource, key, subresource, body)).await
    }

    async fn patch(
        &self,
        resource: &Resource,
        key: &ObjectKey,
        subresource: &str,
        patch: Patch,
    ) -> Result<Object, ApiError> {
        self.write(self.api.patch(resource, key, subresource, patch)).await
    }

    async fn delete(&self, resource: &Resource, key: &ObjectKey, options: &DeleteOptions) -> Result<Object, ApiError> {
        self.write(self.api.delete(resource, key, options)).await
    }
}
