//! Deployment: rolls ReplicaSets from one pod template to the next.

mod control;
mod objects;
mod plan;
mod revision;
mod scale;
mod status;
mod template;
#[cfg(test)]
mod tests;
mod watch;

use crate::context::Context;
use crate::ledger::Ledger;
use crate::limits::OWN_WRITE_TIMEOUT;
use crate::ownership::{self, Claim};
use async_trait::async_trait;
use coracle_client::facts::{Project, WorkloadFacts};
use coracle_client::{Controller, Error, Meta, Next, WorkQueue};
use coracle_proto::resource::{DEPLOYMENTS, REPLICA_SETS};
use coracle_proto::{Object, ObjectKey};
use objects::{Deployment, Set};
use std::sync::Arc;

pub(crate) struct Deployments {
    context: Context,
    /// Writes of ReplicaSets.
    sets_written: Ledger<ObjectKey>,
    /// Writes of the Deployments themselves.
    written: Ledger<ObjectKey>,
}

pub(crate) async fn run(context: Context) {
    let queue = WorkQueue::new();
    watch::subscribe(&context.informers, &queue);
    let informers = &context.informers;
    tokio::join!(informers.deployments.synced(), informers.replica_sets.synced(), informers.pods.synced());
    let controller = Deployments { context: context.clone(), sets_written: Ledger::new(), written: Ledger::new() };
    context.run(Arc::new(controller), queue).await;
}

#[async_trait]
impl Controller for Deployments {
    const NAME: &'static str = "deployment-controller";
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let informers = &self.context.informers;
        let fresh = self.written.is_seen(key, &informers.deployments)
            && self.sets_written.is_seen(key, &informers.replica_sets);
        let Some(object) = informers.deployments.object(key) else {
            self.sets_written.forget(key);
            self.written.forget(key);
            return Ok(Next::Done);
        };
        if !fresh {
            // The caches' next change brings the key back.
            return Ok(Next::After(OWN_WRITE_TIMEOUT));
        }
        let deployment = Deployment::read(&object)?;
        if deployment.selector.is_empty() {
            let message = "This deployment is selecting all pods. A non-empty selector is required.";
            self.context.events.warning(&deployment.involved(), "SelectingAll", message);
            return Ok(Next::Done);
        }
        let sets = self.claimed(&deployment).await?;
        let old_pods = if deployment.recreates() { self.pods_of(&sets) } else { Vec::new() };
        let plan = plan::plan(&deployment, sets, &old_pods, self.context.now())?;
        self.execute(&deployment, plan).await
    }
}

impl Deployments {
    async fn claimed(&self, deployment: &Deployment) -> Result<Vec<Set>, Error> {
        let cache = &self.context.informers.replica_sets;
        let mut objects = cache.objects_owned_by(&deployment.meta.uid);
        let unowned = cache.indexed(WorkloadFacts::UNOWNED, deployment.meta.namespace());
        objects.extend(unowned.iter().filter_map(|set| cache.object(&set.meta.key)));
        let mut sets = Vec::with_capacity(objects.len());
        for object in objects {
            if let Some(object) = self.claim(deployment, object).await? {
                sets.push(Set::read(&object)?);
            }
        }
        Ok(sets)
    }

    /// The set, if it is this deployment's; as adopted just now, if it was nobody's.
    async fn claim(&self, deployment: &Deployment, object: Object) -> Result<Option<Object>, Error> {
        let (api, meta) = (&*self.context.api, Meta::project(&object)?);
        match ownership::claim(&deployment.meta, &deployment.selector, &meta) {
            Claim::Keep => Ok(Some(object)),
            Claim::Ignore => Ok(None),
            Claim::Release => {
                let released = ownership::release(api, &deployment.meta, (&REPLICA_SETS, &meta)).await?;
                released.iter().for_each(|set| self.sets_written.wrote(&deployment.meta.key, set));
                Ok(None)
            }
            Claim::Adopt => {
                if !ownership::may_adopt(api, &DEPLOYMENTS, &deployment.meta).await? {
                    return Ok(None);
                }
                let owner = (&DEPLOYMENTS, &deployment.meta);
                let adopted = ownership::adopt(api, owner, (&REPLICA_SETS, &meta)).await?;
                adopted.iter().for_each(|set| self.sets_written.wrote(&deployment.meta.key, set));
                Ok(adopted)
            }
        }
    }

    fn pods_of(&self, sets: &[Set]) -> Vec<Arc<coracle_client::PodFacts>> {
        sets.iter().flat_map(|set| self.context.informers.pods.owned_by(&set.meta.uid)).collect()
    }
}
