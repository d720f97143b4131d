//! Taint eviction: deletes pods that do not tolerate a NoExecute taint of their node, or only for a time.
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions>

use super::taints;
use crate::context::Context;
use async_trait::async_trait;
use coracle_client::{Controller, DeleteOptions, Error, Involved, Next, Patch, PodFacts, WorkQueue, elapsed};
use coracle_proto::resource::PODS;
use coracle_proto::{ObjectKey, Tree, time};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Taint;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

struct TaintEviction {
    context: Context,
    /// Since when a pod's time is running, for taints that do not say when they were added.
    since: Mutex<HashMap<ObjectKey, (Arc<str>, Timestamp)>>,
}

pub(crate) async fn run(context: Context) {
    let queue = WorkQueue::new();
    let informers = &context.informers;
    let (by_node, pods) = (queue.clone(), informers.pods.clone());
    informers.nodes.subscribe(move |delta| {
        let taints = |side: &Option<Arc<coracle_client::NodeFacts>>| side.as_ref().map(|n| n.taints.clone());
        if taints(&delta.old) != taints(&delta.new) {
            let on_node = pods.indexed(PodFacts::BY_NODE, &delta.key.name);
            on_node.iter().for_each(|pod| by_node.add(ObjectKey::clone(&pod.meta.key)));
        }
    });
    let (by_pod, nodes) = (queue.clone(), informers.nodes.clone());
    informers.pods.subscribe(move |delta| {
        let node = ObjectKey::cluster(&*delta.latest().node_name);
        // Gone ones come too, so that they are forgotten.
        if delta.new.is_none() || nodes.get(&node).is_some_and(|n| is_evicting(&n.taints)) {
            by_pod.add(ObjectKey::clone(&delta.key));
        }
    });
    tokio::join!(informers.nodes.synced(), informers.pods.synced());
    context.run(Arc::new(TaintEviction { context: context.clone(), since: Mutex::default() }), queue).await;
}

fn is_evicting(taints: &[Taint]) -> bool {
    taints.iter().any(|t| t.effect == "NoExecute")
}

/// When a pod with these tolerations must go, given that its time has been running since `since`.
fn due(pod: &PodFacts, taints: &[Taint], since: Timestamp) -> Option<Timestamp> {
    taints::tolerated_for(&pod.constraints.tolerations, taints)
        .map(|time| since.saturating_add(time).unwrap_or(Timestamp::MAX))
}

#[async_trait]
impl Controller for TaintEviction {
    const NAME: &'static str = "taint-eviction-controller";
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let informers = &self.context.informers;
        let pod = informers.pods.get(key).filter(|pod| !pod.meta.is_deleting() && !pod.is_terminal());
        let node = pod.as_ref().and_then(|pod| informers.nodes.get(&ObjectKey::cluster(&*pod.node_name)));
        let (Some(pod), Some(node)) = (pod, node) else {
            self.forget(key);
            return Ok(Next::Done);
        };
        let now = self.context.now();
        let since = self.since(key, &pod, &node.taints, now);
        let Some(due) = due(&pod, &node.taints, since) else {
            if self.forget(key) {
                let message = format!("Cancelling deletion of Pod {key}");
                self.context.events.normal(&Involved::of(&PODS, &pod.meta), "TaintManagerEviction", message);
            }
            return Ok(Next::Done);
        };
        if due > now {
            self.remember(key, &pod, since);
            return Ok(Next::After(elapsed(now, due)));
        }
        self.evict(&pod, now).await?;
        self.forget(key);
        Ok(Next::Done)
    }
}

impl TaintEviction {
    fn since(&self, key: &ObjectKey, pod: &PodFacts, taints: &[Taint], now: Timestamp) -> Timestamp {
        let since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, at)) = since.get(key).filter(|(uid, _)| *uid == pod.meta.uid) {
            return *at;
        }
        // Those that say when are counted from then, also after a restart of this process.
        let added = taints.iter().filter(|t| t.effect == "NoExecute").map(|t| t.time_added.as_ref().map(|t| t.0));
        added.collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max()).unwrap_or(now)
    }

    fn remember(&self, key: &ObjectKey, pod: &PodFacts, at: Timestamp) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.insert(key.clone(), (pod.meta.uid.clone(), at));
    }

    fn forget(&self, key: &ObjectKey) -> bool {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).remove(key).is_some()
    }

    async fn evict(&self, pod: &PodFacts, now: Timestamp) -> Result<(), Error> {
        let about = Involved::of(&PODS, &pod.meta);
        self.context.events.normal(
            &about,
            "TaintManagerEviction",
            format!("Marking for deletion Pod {}", pod.meta.key),
        );
        let reason = ("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint");
        let api = &*self.context.api;
        if !mark_disrupted(api, &self.context.informers, pod, reason, None, now).await? {
            return Ok(());
        }
        let options = DeleteOptions { uid: Some(pod.meta.uid.to_string()), ..DeleteOptions::default() };
        match api.delete(&PODS, &pod.meta.key, &options).await {
            Ok(_) => Ok(()),
            Err(e) if e.is_not_found() => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

/// Writes the condition DisruptionTarget, and `phase` if given. `false` if the pod is gone.
pub(super) async fn mark_disrupted(
    api: &dyn coracle_client::ResourceApi,
    informers: &coracle_client::Informers,
    pod: &PodFacts,
    (reason, message): (&str, &str),
    phase: Option<&str>,
    now: Timestamp,
) -> Result<bool, Error> {
    let Some(object) = informers.pods.object(&pod.meta.key) else { return Ok(false) };
    let tree: Tree = object.parse()?;
    let mut list = tree["status"]["conditions"].as_array().cloned().unwrap_or_default();
    list.retain(|c| c["type"] != "DisruptionTarget");
    list.push(json!({
        "type": "DisruptionTarget", "status": "True", "reason": reason, "message": message,
        "lastTransitionTime": time::render(now),
    }));
    let mut status = json!({"conditions": list});
    if let Some(phase) = phase {
        status["phase"] = phase.into();
    }
    let metadata = json!({"uid": pod.meta.uid, "resourceVersion": tree["metadata"]["resourceVersion"]});
    let patch = Patch::Merge(json!({"metadata": metadata, "status": status}));
    match api.patch(&PODS, &pod.meta.key, "status", patch).await {
        Ok(_) => Ok(true),
        Err(e) if e.is_not_found() => Ok(false),
        Err(e) => Err(e.into()),
    }
}
