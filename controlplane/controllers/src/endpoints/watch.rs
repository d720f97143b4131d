//! Which Services a change concerns.

use coracle_client::facts::ServiceFacts;
use coracle_client::{Delta, Informer, Informers, Meta, PodFacts, WorkQueue};
use coracle_proto::ObjectKey;
use std::sync::Arc;

/// Services and pods; what the controller writes is subscribed to by itself.
pub(super) fn subscribe(informers: &Informers, queue: &WorkQueue<ObjectKey>) {
    let own = queue.clone();
    informers.services.subscribe(move |delta| own.add(ObjectKey::clone(&delta.key)));
    let (queue, services) = (queue.clone(), informers.services.clone());
    informers.pods.subscribe(move |delta| {
        concerned(delta, &services).into_iter().for_each(|key| queue.add(key));
    });
}

/// Puts back what somebody else changed: `service` names the Service that a written object belongs to.
pub(super) fn subscribe_written(
    written: &Informer<Meta>,
    queue: &WorkQueue<ObjectKey>,
    service: impl Fn(&Meta) -> Option<ObjectKey> + Send + Sync + 'static,
) {
    let queue = queue.clone();
    written.subscribe(move |delta| {
        for side in [&delta.old, &delta.new].into_iter().flatten() {
            service(side).into_iter().for_each(|key| queue.add(key));
        }
    });
}

/// Services that select the pod, as it was or as it is, if the change can show in endpoints.
fn concerned(delta: &Delta<PodFacts>, services: &Arc<Informer<ServiceFacts>>) -> Vec<ObjectKey> {
    if let (Some(old), Some(new)) = (&delta.old, &delta.new)
        && shown(old) == shown(new)
    {
        return Vec::new();
    }
    let sides = [delta.old.as_deref(), delta.new.as_deref()];
    let selects = |service: &&Arc<ServiceFacts>| {
        let pods = sides.iter().flatten();
        pods.into_iter().any(|pod| super::facts::selects(service, pod))
    };
    let candidates = services.in_namespace(&delta.key.namespace);
    candidates.iter().filter(selects).map(|service| ObjectKey::clone(&service.meta.key)).collect()
}

/// What of a pod shows in endpoints.
fn shown(pod: &PodFacts) -> impl PartialEq + '_ {
    (
        (&pod.meta.labels, &pod.meta.uid, pod.meta.is_deleting(), pod.is_terminal()),
        (pod.ready, &pod.pod_ips, &pod.node_name, &pod.hostname, &pod.subdomain),
    )
}
