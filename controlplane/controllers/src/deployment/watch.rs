//! Which Deployments a change concerns.

use coracle_client::facts::{Owner, WorkloadFacts};
use coracle_client::{Delta, Informer, Informers, PodFacts, WorkQueue};
use coracle_proto::ObjectKey;

pub(super) fn subscribe(informers: &Informers, queue: &WorkQueue<ObjectKey>) {
    let own = queue.clone();
    informers.deployments.subscribe(move |delta| own.add(ObjectKey::clone(&delta.key)));
    let (by_set, deployments) = (queue.clone(), informers.deployments.clone());
    informers.replica_sets.subscribe(move |delta| {
        concerned(delta, &deployments).into_iter().for_each(|key| by_set.add(key));
    });
    let (by_pod, sets, deployments) = (queue.clone(), informers.replica_sets.clone(), informers.deployments.clone());
    informers.pods.subscribe(move |delta| {
        if let Some(key) = recreating(delta, &sets, &deployments) {
            by_pod.add(key);
        }
    });
}

/// The owners before and after; for a set nobody owns, everybody who may adopt it.
fn concerned(delta: &Delta<WorkloadFacts>, deployments: &Informer<WorkloadFacts>) -> Vec<ObjectKey> {
    let mut keys = Vec::new();
    for side in [&delta.old, &delta.new].into_iter().flatten() {
        match side.meta.controller() {
            Some(owner) => keys.extend(key_of(owner, side.meta.namespace())),
            None => {
                let candidates = deployments.in_namespace(side.meta.namespace());
                let matching = candidates.iter().filter(|d| d.selects(&side.meta.labels));
                keys.extend(matching.map(|d| ObjectKey::clone(&d.meta.key)));
            }
        }
    }
    keys
}

/// A pod that is over lets a Recreate go on.
fn recreating(
    delta: &Delta<PodFacts>,
    sets: &Informer<WorkloadFacts>,
    deployments: &Informer<WorkloadFacts>,
) -> Option<ObjectKey> {
    if delta.new.as_ref().is_some_and(|pod| !pod.is_terminal()) {
        return None;
    }
    let pod = delta.latest();
    let set = sets.get(&ObjectKey::new(pod.meta.namespace(), &*pod.meta.controller()?.name))?;
    let key = key_of(set.meta.controller()?, pod.meta.namespace())?;
    deployments.get(&key)?.recreates.then_some(key)
}

fn key_of(owner: &Owner, namespace: &str) -> Option<ObjectKey> {
    (&*owner.kind == "Deployment" && owner.api_version.starts_with("apps/"))
        .then(|| ObjectKey::new(namespace, &*owner.name))
}
