//! The EndpointSlice mirroring controller: Endpoints written by hand reach readers of slices.

use super::mirror_plan::{MANAGER, is_mirrored, plan};
use super::spread::{MANAGED_BY, Plan, SERVICE_NAME};
use super::watch;
use super::writer::Writer;
use crate::context::Context;
use crate::limits::OWN_WRITE_TIMEOUT;
use async_trait::async_trait;
use coracle_client::{Controller, Error, Meta, Next, WorkQueue};
use coracle_proto::ObjectKey;
use coracle_proto::resource::ENDPOINTS;
use std::sync::Arc;

struct Mirror {
    context: Context,
    writer: Writer,
}

pub(crate) async fn run(context: Context) {
    let queue = WorkQueue::new();
    let informers = &context.informers;
    let (by_endpoints, by_service) = (queue.clone(), queue.clone());
    informers.endpoints.subscribe(move |delta| by_endpoints.add(ObjectKey::clone(&delta.key)));
    informers.services.subscribe(move |delta| by_service.add(ObjectKey::clone(&delta.key)));
    watch::subscribe_written(&informers.endpoint_slices, &queue, endpoints_of);
    tokio::join!(informers.services.synced(), informers.endpoints.synced(), informers.endpoint_slices.synced());
    let writer = Writer::new(context.clone(), MANAGER);
    context.run(Arc::new(Mirror { context: context.clone(), writer }), queue).await;
}

fn endpoints_of(slice: &Meta) -> Option<ObjectKey> {
    let name = slice.label(SERVICE_NAME).filter(|_| slice.label(MANAGED_BY) == Some(MANAGER));
    name.map(|name| ObjectKey::new(slice.namespace(), name))
}

#[async_trait]
impl Controller for Mirror {
    const NAME: &'static str = "endpointslicemirroring-controller";
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let informers = &self.context.informers;
        let fresh = self.writer.is_fresh(key);
        let (Some(owner), Some(object)) = (informers.endpoints.get(key), informers.endpoints.object(key)) else {
            // Slices of Endpoints that are gone go with their owner.
            self.writer.ledger.forget(key);
            return Ok(Next::Done);
        };
        if !fresh {
            return Ok(Next::After(OWN_WRITE_TIMEOUT));
        }
        let endpoints = object.tree()?;
        let existing = self.writer.existing(&owner)?;
        let plan = if is_mirrored(&endpoints, informers.services.get(key).as_deref()) {
            plan(&owner, &endpoints, existing)
        } else {
            Plan { delete: existing, ..Plan::default() }
        };
        self.writer.execute((&ENDPOINTS, &owner), plan).await
    }
}
