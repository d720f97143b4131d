//! The Endpoints controller, for clients that have not moved to EndpointSlices.

use super::{facts, legacy_plan, watch};
use crate::context::Context;
use crate::ledger::Ledger;
use crate::limits::OWN_WRITE_TIMEOUT;
use async_trait::async_trait;
use coracle_client::{Controller, DeleteOptions, Error, Involved, Meta, Next, WorkQueue};
use coracle_proto::resource::{ENDPOINTS, SERVICES};
use coracle_proto::{ApiError, Object, ObjectKey, Tree};
use std::sync::Arc;

struct Endpoints {
    context: Context,
    ledger: Ledger<ObjectKey>,
}

pub(crate) async fn run(context: Context) {
    let queue = WorkQueue::new();
    let informers = &context.informers;
    watch::subscribe(informers, &queue);
    let services = informers.services.clone();
    // Endpoints without a Service may be waiting for one; they are not touched because they change.
    watch::subscribe_written(&informers.endpoints, &queue, move |endpoints| {
        services.get(&endpoints.key).map(|service| ObjectKey::clone(&service.meta.key))
    });
    tokio::join!(informers.services.synced(), informers.pods.synced(), informers.endpoints.synced());
    leftovers(&context).into_iter().for_each(|key| queue.add(key));
    let controller = Arc::new(Endpoints { context: context.clone(), ledger: Ledger::new() });
    context.run(controller, queue).await;
}

/// Made by us, and their Service went while nobody looked.
fn leftovers(context: &Context) -> Vec<ObjectKey> {
    let informers = &context.informers;
    let ours = |e: &&Arc<Meta>| e.label(legacy_plan::MANAGED_BY).is_some() && informers.services.get(&e.key).is_none();
    informers.endpoints.list().iter().filter(ours).map(|e| ObjectKey::clone(&e.key)).collect()
}

#[async_trait]
impl Controller for Endpoints {
    const NAME: &'static str = "endpoint-controller";
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let informers = &self.context.informers;
        let fresh = self.ledger.is_seen(key, &informers.endpoints);
        let Some(service) = informers.services.get(key) else {
            self.ledger.forget(key);
            return self.delete(key).await;
        };
        if !facts::is_managed(&service) {
            return Ok(Next::Done);
        }
        if !fresh {
            return Ok(Next::After(OWN_WRITE_TIMEOUT));
        }
        let existing = informers.endpoints.object(key).map(|object| object.tree()).transpose()?;
        let pods = facts::pods(informers, &service);
        let Some(wanted) = legacy_plan::plan(&service, &pods, existing.as_ref()) else { return Ok(Next::Done) };
        match self.write(key, wanted, existing.is_some()).await {
            Ok(object) => {
                self.ledger.wrote(key, &object);
                Ok(Next::Done)
            }
            Err(e) if crate::replicaset::is_namespace_ending(&e) => Ok(Next::Done),
            Err(e) => {
                if !e.is_conflict() && !e.is_already_exists() {
                    let (verb, reason) = match existing {
                        Some(_) => ("update", "FailedToUpdateEndpoint"),
                        None => ("create", "FailedToCreateEndpoint"),
                    };
                    let message = format!("Failed to {verb} endpoint for service {}/{}: {e}", key.namespace, key.name);
                    self.context.events.warning(&Involved::of(&SERVICES, &service.meta), reason, message);
                }
                Err(e.into())
            }
        }
    }
}

impl Endpoints {
    async fn write(&self, key: &ObjectKey, wanted: Tree, exists: bool) -> Result<Object, ApiError> {
        let api = &self.context.api;
        if exists {
            api.update(&ENDPOINTS, key, "", wanted).await
        } else {
            api.create(&ENDPOINTS, &ObjectKey::new(&*key.namespace, ""), "", wanted).await
        }
    }

    /// Endpoints have no owner reference; those of a Service that is gone are deleted by name.
    async fn delete(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(found) = self.context.informers.endpoints.get(key) else { return Ok(Next::Done) };
        if found.is_deleting() {
            return Ok(Next::Done);
        }
        let options = DeleteOptions { uid: Some(found.uid.to_string()), ..DeleteOptions::default() };
        match self.context.api.delete(&ENDPOINTS, key, &options).await {
            Ok(_) => Ok(Next::Done),
            Err(e) if e.is_not_found() => Ok(Next::Done),
            Err(e) => Err(e.into()),
        }
    }
}
