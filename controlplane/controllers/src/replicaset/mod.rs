//! ReplicaSet: keeps as many pods of one template as asked for.

mod control;
mod plan;
mod rank;
mod watch;

use crate::context::Context;
use crate::ledger::Ledger;
use crate::limits::OWN_WRITE_TIMEOUT;
use crate::ownership::{self, Claim};
use async_trait::async_trait;
pub(crate) use control::is_namespace_ending;
use coracle_client::{Controller, Error, Informers, Involved, Next, PodFacts, WorkQueue};
use coracle_proto::resource::{PODS, REPLICA_SETS};
use coracle_proto::{ObjectKey, Tree};
use plan::{Observed, Set};
use std::sync::Arc;

pub(crate) struct ReplicaSets {
    context: Context,
    ledger: Ledger<ObjectKey>,
}

pub(crate) async fn run(context: Context) {
    let queue = WorkQueue::new();
    watch::subscribe(&context.informers, &queue);
    synced(&context.informers).await;
    let controller = Arc::new(ReplicaSets { context: context.clone(), ledger: Ledger::new() });
    context.run(controller, queue).await;
}

async fn synced(informers: &Informers) {
    tokio::join!(informers.replica_sets.synced(), informers.pods.synced());
}

#[async_trait]
impl Controller for ReplicaSets {
    const NAME: &'static str = "replicaset-controller";
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let informers = &self.context.informers;
        let Some(object) = informers.replica_sets.object(key) else {
            self.ledger.forget(key);
            return Ok(Next::Done);
        };
        // Looked at before the pods, so that the pods are at least as new.
        let fresh = self.ledger.is_seen(key, &informers.pods);
        let tree: Tree = object.parse()?;
        let set = Set::read(&object, &tree)?;
        let pods = self.claimed(&set).await?;
        // Only a choice among too many pods asks for the neighbours.
        let related = if pods.len() > set.replicas { self.related(&set) } else { Vec::new() };
        let observed = Observed { pods: &pods, related: &related, now: self.context.now() };
        let manage =
            if fresh && !set.meta.is_deleting() { plan::manage(&set, &observed) } else { plan::Manage::Nothing };
        let managed = self.execute(&set, &tree, manage).await;
        let failure = managed.as_ref().err().map(ToString::to_string);
        self.write_status(&set, &tree, &observed, failure.as_deref()).await?;
        managed?;
        Ok(if fresh { plan::next(&set, &observed) } else { Next::After(OWN_WRITE_TIMEOUT) })
    }
}

impl ReplicaSets {
    /// The active pods that are this set's, after adopting and releasing.
    async fn claimed(&self, set: &Set) -> Result<Vec<Arc<PodFacts>>, Error> {
        let pods = &self.context.informers.pods;
        let unowned = pods.indexed(PodFacts::UNOWNED, set.meta.namespace());
        let mut candidates = pods.owned_by(&set.meta.uid);
        candidates.extend(unowned);
        candidates.retain(|pod| pod.is_active());
        let mut may_adopt = None;
        let mut claimed = Vec::with_capacity(candidates.len());
        let api = &*self.context.api;
        for pod in candidates {
            match ownership::claim(&set.meta, &set.selector, &pod.meta) {
                Claim::Keep => claimed.push(pod),
                Claim::Ignore => {}
                Claim::Release => {
                    let released = ownership::release(api, &set.meta, (&PODS, &pod.meta)).await?;
                    released.iter().for_each(|object| self.ledger.wrote(&set.meta.key, object));
                }
                Claim::Adopt => {
                    if may_adopt.is_none() {
                        may_adopt = Some(ownership::may_adopt(api, &REPLICA_SETS, &set.meta).await?);
                    }
                    if may_adopt == Some(true) {
                        let owner = (&REPLICA_SETS, &set.meta);
                        if let Some(object) = ownership::adopt(api, owner, (&PODS, &pod.meta)).await? {
                            self.ledger.wrote(&set.meta.key, &object);
                            claimed.push(pod);
                        }
                    }
                }
            }
        }
        Ok(claimed)
    }

    /// Active pods of all sets under the same owner: scaling down prefers nodes that have many of them.
    fn related(&self, set: &Set) -> Vec<Arc<PodFacts>> {
        let informers = &self.context.informers;
        let Some(owner) = set.meta.controller() else { return informers.pods.owned_by(&set.meta.uid) };
        let siblings = informers.replica_sets.owned_by(&owner.uid);
        siblings
            .iter()
            .flat_map(|sibling| informers.pods.owned_by(&sibling.meta.uid))
            .filter(|p| p.is_active())
            .collect()
    }

    fn involved(set: &Set) -> Involved {
        Involved::of(&REPLICA_SETS, &set.meta)
    }
}
