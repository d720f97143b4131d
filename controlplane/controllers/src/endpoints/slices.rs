//! The EndpointSlice controller.

use super::slices_plan::{MANAGER, ZONE, plan};
use super::spread::{MANAGED_BY, SERVICE_NAME};
use super::writer::Writer;
use super::{facts, watch};
use crate::context::Context;
use crate::limits::OWN_WRITE_TIMEOUT;
use async_trait::async_trait;
use coracle_client::{Controller, Error, Meta, Next, WorkQueue};
use coracle_proto::ObjectKey;
use coracle_proto::resource::SERVICES;
use std::sync::Arc;

struct Slices {
    context: Context,
    writer: Writer,
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
    let writer = Writer::new(context.clone(), MANAGER);
    context.run(Arc::new(Slices { context: context.clone(), writer }), queue).await;
}

fn service_of(slice: &Meta) -> Option<ObjectKey> {
    let name = slice.label(SERVICE_NAME).filter(|_| slice.label(MANAGED_BY) == Some(MANAGER));
    name.map(|name| ObjectKey::new(slice.namespace(), name))
}

#[async_trait]
impl Controller for Slices {
    const NAME: &'static str = "endpointslice-controller";
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let informers = &self.context.informers;
        let fresh = self.writer.is_fresh(key);
        let Some(service) = informers.services.get(key).filter(|s| facts::is_managed(s)) else {
            // Slices of a Service that is gone go with their owner.
            self.writer.ledger.forget(key);
            return Ok(Next::Done);
        };
        if !fresh {
            return Ok(Next::After(OWN_WRITE_TIMEOUT));
        }
        let pods = facts::pods(informers, &service);
        let zone = |node: &str| {
            informers.nodes.get(&ObjectKey::cluster(node)).and_then(|n| n.meta.label(ZONE).map(str::to_owned))
        };
        let plan = plan(&service, &pods, self.writer.existing(&service.meta)?, &zone);
        self.writer.execute((&SERVICES, &service.meta), plan).await
    }
}
