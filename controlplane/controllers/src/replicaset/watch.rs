//! Which ReplicaSets a change concerns.

use coracle_client::facts::Owner;
use coracle_client::facts::WorkloadFacts;
use coracle_client::{Delta, Informer, Informers, PodFacts, WorkQueue};
use coracle_proto::ObjectKey;
use std::sync::Arc;

pub(super) fn subscribe(informers: &Informers, queue: &WorkQueue<ObjectKey>) {
    let sets = queue.clone();
    informers.replica_sets.subscribe(move |delta| sets.add(ObjectKey::clone(&delta.key)));
    let (queue, sets) = (queue.clone(), informers.replica_sets.clone());
    informers.pods.subscribe(move |delta| {
        for key in concerned(delta, &sets) {
            queue.add(key);
        }
    });
}

/// The owners before and after; for a pod nobody owns, everybody who may adopt it.
fn concerned(delta: &Delta<PodFacts>, sets: &Arc<Informer<WorkloadFacts>>) -> Vec<ObjectKey> {
    let mut keys = Vec::new();
    for side in [&delta.old, &delta.new].into_iter().flatten() {
        match side.meta.controller() {
            Some(owner) => keys.extend(key_of(owner, side.meta.namespace())),
            None => {
                let candidates = sets.in_namespace(side.meta.namespace());
                let matching = candidates.iter().filter(|set| set.selects(&side.meta.labels));
                keys.extend(matching.map(|set| ObjectKey::clone(&set.meta.key)));
            }
        }
    }
    keys
}

fn key_of(owner: &Owner, namespace: &str) -> Option<ObjectKey> {
    (&*owner.kind == "ReplicaSet" && owner.api_version.starts_with("apps/"))
        .then(|| ObjectKey::new(namespace, &*owner.name))
}
