//! Reads and writes one object's EndpointSlices, and remembers what was written until the cache shows it.

use super::spread::{MANAGED_BY, Plan};
use crate::context::Context;
use crate::ledger::Ledger;
use coracle_client::{DeleteOptions, Error, Involved, Meta, Next};
use coracle_proto::resource::ENDPOINT_SLICES;
use coracle_proto::{ApiError, ObjectKey, Resource, Tree, meta};
use futures::future::join_all;
use std::sync::Arc;

pub(super) struct Writer {
    pub(super) context: Context,
    pub(super) ledger: Ledger<ObjectKey>,
    /// The label value that marks this controller's slices.
    pub(super) manager: &'static str,
}

impl Writer {
    pub(super) fn new(context: Context, manager: &'static str) -> Self {
        Self { context, ledger: Ledger::new(), manager }
    }

    /// Whether the cache shows everything written for `key`.
    pub(super) fn is_fresh(&self, key: &ObjectKey) -> bool {
        self.ledger.is_seen(key, &self.context.informers.endpoint_slices)
    }

    /// The slices of this controller that `owner` owns.
    pub(super) fn existing(&self, owner: &Meta) -> Result<Vec<Tree>, ApiError> {
        let cache = &self.context.informers.endpoint_slices;
        let owned = cache.owned_by(&owner.uid);
        let ours = owned.iter().filter(|slice| slice.label(MANAGED_BY) == Some(self.manager) && !slice.is_deleting());
        ours.filter_map(|slice| cache.object(&slice.key)).map(|object| object.tree()).collect()
    }

    /// Side by side; updates first, since they show at once what became ready or went away.
    pub(super) async fn execute(&self, owner: (&Resource, &Meta), plan: Plan) -> Result<Next, Error> {
        let key = &*owner.1.key;
        let total = plan.update.len() + plan.create.len() + plan.delete.len();
        let mut results = join_all(plan.update.into_iter().map(|slice| self.update(key, slice))).await;
        results.extend(join_all(plan.create.into_iter().map(|slice| self.create(key, slice))).await);
        results.extend(join_all(plan.delete.into_iter().map(|slice| self.delete(key, slice))).await);
        let mut failed: Vec<ApiError> = results.into_iter().filter_map(Result::err).collect();
        if failed.is_empty() {
            return Ok(Next::Done);
        }
        let first = failed.remove(0);
        if !first.is_conflict() {
            let message = format!("Error updating Endpoint Slices for {} {key}: {first}", owner.0.kind);
            let about = Involved::of(owner.0, owner.1);
            self.context.events.warning(&about, "FailedToUpdateEndpointSlices", message);
        }
        Err(Error::Partly { failed: failed.len() + 1, total, first })
    }

    async fn update(&self, owner: &ObjectKey, slice: Tree) -> Result<(), ApiError> {
        let key = ObjectKey::of(&slice);
        let object = self.context.api.update(&ENDPOINT_SLICES, &key, "", slice).await?;
        self.ledger.wrote(owner, &object);
        Ok(())
    }

    async fn create(&self, owner: &ObjectKey, slice: Tree) -> Result<(), ApiError> {
        let key = ObjectKey::new(&*owner.namespace, "");
        match self.context.api.create(&ENDPOINT_SLICES, &key, "", slice).await {
            Ok(object) => {
                self.ledger.wrote(owner, &object);
                Ok(())
            }
            Err(e) if crate::replicaset::is_namespace_ending(&e) => Ok(()),
            Err(e) => Err(e),
        }
    }

    async fn delete(&self, owner: &ObjectKey, slice: Tree) -> Result<(), ApiError> {
        let (key, uid): (_, Arc<str>) = (ObjectKey::of(&slice), meta::uid(&slice).into());
        let options = DeleteOptions { uid: Some(uid.to_string()), ..DeleteOptions::default() };
        match self.context.api.delete(&ENDPOINT_SLICES, &key, &options).await {
            Ok(_) => {
                self.ledger.deleted(owner, &key, &uid);
                Ok(())
            }
            Err(e) if e.is_not_found() => Ok(()),
            Err(e) => Err(e),
        }
    }
}
