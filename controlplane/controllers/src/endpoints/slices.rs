//! The EndpointSlice controller.

use super::slices_plan::{MANAGED_BY, MANAGER, Plan, SERVICE_NAME, ZONE, plan};
use super::{facts, watch};
use crate::context::Context;
use crate::ledger::Ledger;
use crate::limits::OWN_WRITE_TIMEOUT;
use async_trait::async_trait;
use coracle_client::facts::ServiceFacts;
use coracle_client::{Controller, DeleteOptions, Error, Involved, Meta, Next, WorkQueue};
use coracle_proto::resource::{ENDPOINT_SLICES, SERVICES};
use coracle_proto::{ApiError, ObjectKey, Tree, meta};
use futures::future::join_all;
use std::sync::Arc;

struct Slices {
    context: Context,
    ledger: Ledger<ObjectKey>,
}

pub(crate) async fn run(context: Context) {
    let queue = WorkQueue::new();
    let informers = &context.informers;
    watch::subscribe(informers, &queue);
    watch::subscribe_written(&informers.endpoint_slices, &queue, service_of);
    tokio::join!(
        informers.services.synced(),
        informers.pods.synced(),
        informers.nodes.synced(),
        informers.endpoint_slices.synced()
    );
    let controller = Arc::new(Slices { context: context.clone(), ledger: Ledger::new() });
    context.run(controller, queue).await;
}

fn service_of(slice: &Meta) -> Option<ObjectKey> {
    is_ours(slice).then(|| slice.label(SERVICE_NAME).map(|name| ObjectKey::new(slice.namespace(), name)))?
}

fn is_ours(slice: &Meta) -> bool {
    slice.label(MANAGED_BY) == Some(MANAGER)
}

#[async_trait]
impl Controller for Slices {
    const NAME: &'static str = "endpointslice-controller";
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let informers = &self.context.informers;
        let fresh = self.ledger.is_seen(key, &informers.endpoint_slices);
        let Some(service) = informers.services.get(key).filter(|s| facts::is_managed(s)) else {
            // Slices of a Service that is gone go with their owner.
            self.ledger.forget(key);
            return Ok(Next::Done);
        };
        if !fresh {
            return Ok(Next::After(OWN_WRITE_TIMEOUT));
        }
        let pods = facts::pods(informers, &service);
        let zone = |node: &str| {
            informers.nodes.get(&ObjectKey::cluster(node)).and_then(|n| n.meta.label(ZONE).map(str::to_owned))
        };
        let plan = plan(&service, &pods, self.existing(&service)?, &zone);
        self.execute(&service, plan).await
    }
}

impl Slices {
    fn existing(&self, service: &ServiceFacts) -> Result<Vec<Tree>, ApiError> {
        let cache = &self.context.informers.endpoint_slices;
        let owned = cache.owned_by(&service.meta.uid);
        let ours = owned.iter().filter(|slice| is_ours(slice) && !slice.is_deleting());
        ours.filter_map(|slice| cache.object(&slice.key)).map(|object| object.tree()).collect()
    }

    /// Side by side; updates first, since they show at once what became ready or went away.
    async fn execute(&self, service: &ServiceFacts, plan: Plan) -> Result<Next, Error> {
        let total = plan.update.len() + plan.create.len() + plan.delete.len();
        let mut results = join_all(plan.update.into_iter().map(|slice| self.update(service, slice))).await;
        results.extend(join_all(plan.create.into_iter().map(|slice| self.create(service, slice))).await);
        results.extend(join_all(plan.delete.into_iter().map(|slice| self.delete(service, slice))).await);
        let mut failed: Vec<ApiError> = results.into_iter().filter_map(Result::err).collect();
        if failed.is_empty() {
            return Ok(Next::Done);
        }
        let first = failed.remove(0);
        if !first.is_conflict() {
            let about = Involved::of(&SERVICES, &service.meta);
            let message = format!(
                "Error updating Endpoint Slices for Service {}/{}: {first}",
                service.meta.namespace(),
                service.meta.name()
            );
            self.context.events.warning(&about, "FailedToUpdateEndpointSlices", message);
        }
        Err(Error::Partly { failed: failed.len() + 1, total, first })
    }

    async fn update(&self, service: &ServiceFacts, slice: Tree) -> Result<(), ApiError> {
        let key = ObjectKey::of(&slice);
        let object = self.context.api.update(&ENDPOINT_SLICES, &key, "", slice).await?;
        self.ledger.wrote(&service.meta.key, &object);
        Ok(())
    }

    async fn create(&self, service: &ServiceFacts, slice: Tree) -> Result<(), ApiError> {
        let key = ObjectKey::new(service.meta.namespace(), "");
        match self.context.api.create(&ENDPOINT_SLICES, &key, "", slice).await {
            Ok(object) => {
                self.ledger.wrote(&service.meta.key, &object);
                Ok(())
            }
            Err(e) if crate::replicaset::is_namespace_ending(&e) => Ok(()),
            Err(e) => Err(e),
        }
    }

    async fn delete(&self, service: &ServiceFacts, slice: Tree) -> Result<(), ApiError> {
        let (key, uid): (_, Arc<str>) = (ObjectKey::of(&slice), meta::uid(&slice).into());
        let options = DeleteOptions { uid: Some(uid.to_string()), ..DeleteOptions::default() };
        match self.context.api.delete(&ENDPOINT_SLICES, &key, &options).await {
            Ok(_) => {
                self.ledger.deleted(&service.meta.key, &key, &uid);
                Ok(())
            }
            Err(e) if e.is_not_found() => Ok(()),
            Err(e) => Err(e),
        }
    }
}
