//! What the informers told since the loop last looked.

use coracle_client::facts::{Labels, NodeFacts, PodFacts};
use coracle_client::{Delta, Informers};
use coracle_proto::ObjectKey;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// The newest state of what changed. Bounded by the number of objects.
#[derive(Default)]
pub struct Inbox {
    changes: Mutex<Changes>,
    arrived: Notify,
}

#[derive(Default)]
pub struct Changes {
    /// By UID, and whether it is still there: a pod that was deleted and made again is two.
    pub pods: BTreeMap<Arc<str>, (Arc<PodFacts>, bool)>,
    pub nodes: BTreeMap<Arc<ObjectKey>, Option<Arc<NodeFacts>>>,
    pub namespaces: BTreeMap<Arc<ObjectKey>, Option<Arc<Labels>>>,
}

impl Inbox {
    pub fn subscribe(self: &Arc<Self>, informers: &Informers) {
        let inbox = self.clone();
        informers.namespaces.subscribe(move |delta| {
            let labels = delta.new.as_ref().map(|meta| meta.labels.clone());
            inbox.put(|changes| {
                changes.namespaces.insert(delta.key.clone(), labels);
            });
        });
        let inbox = self.clone();
        informers.nodes.subscribe(move |delta| {
            inbox.put(|changes| {
                changes.nodes.insert(delta.key.clone(), delta.new.clone());
            });
        });
        let inbox = self.clone();
        informers.pods.subscribe(move |delta: &Delta<PodFacts>| {
            inbox.put(|changes| {
                // Where one key's pod was replaced by another, both have news.
                for (pod, there) in [(&delta.old, false), (&delta.new, true)] {
                    if let Some(pod) = pod {
                        changes.pods.insert(pod.meta.uid.clone(), (pod.clone(), there));
                    }
                }
            });
        });
    }

    pub fn take(&self) -> Changes {
        std::mem::take(&mut self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns once something has arrived since this last returned.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    fn put(&self, change: impl FnOnce(&mut Changes)) {
        change(&mut self.changes.lock().unwrap_or_else(PoisonError::into_inner));
        self.arrived.notify_one();
    }
}
