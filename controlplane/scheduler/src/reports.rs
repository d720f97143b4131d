//! Writes into pods why they have no node: the condition `PodScheduled=False`. Beside the loop, but for each pod in order.

use crate::limits::REPORTS;
use coracle_client::facts::PodFacts;
use coracle_client::{Patch, ResourceApi};
use coracle_proto::ApiError;
use coracle_proto::resource::PODS;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

pub struct Reports {
    api: Arc<dyn ResourceApi>,
    permits: Arc<Semaphore>,
    /// The last write of each pod, by UID: at most one per pod that waits.
    last: HashMap<Arc<str>, JoinHandle<()>>,
}

impl Reports {
    pub fn new(api: Arc<dyn ResourceApi>) -> Self {
        Self { api, permits: Arc::new(Semaphore::new(REPORTS)), last: HashMap::new() }
    }

    /// Writes the condition, if the pod does not say so already.
    pub fn tell(&mut self, pod: &Arc<PodFacts>, reason: &'static str, message: &str) {
        if pod.unscheduled_reason.as_deref() == Some(message) {
            return;
        }
        let (api, permits, message) = (self.api.clone(), self.permits.clone(), message.to_owned());
        let (pod, before) = (pod.clone(), self.last.remove(&pod.meta.uid));
        let uid = pod.meta.uid.clone();
        let task = tokio::spawn(async move {
            finished(before).await;
            let _permit = permits.acquire().await.expect("nobody closes it");
            if let Err(error) = write_condition(&*api, &pod, reason, &message).await
                && !error.is_not_found()
            {
                tracing::warn!(pod = %pod.meta.key, %error, "the pod's PodScheduled condition could not be written");
            }
        });
        self.last.insert(uid, task);
    }

    /// Hands over the pod's last write: its binding must come after it, or the pod would say that it has no node.
    pub fn last(&mut self, uid: &str) -> Option<JoinHandle<()>> {
        self.last.remove(uid)
    }

    /// The pod needs no more reports. A write under way is finished.
    pub fn forget(&mut self, uid: &str) {
        self.last.remove(uid);
    }

    /// Waits for all writes under way.
    pub async fn finish(self) {
        for task in self.last.into_values() {
            finished(Some(task)).await;
        }
    }
}

/// A write that panicked is over too; the runtime has told of it.
pub async fn finished(task: Option<JoinHandle<()>>) {
    if let Some(task) = task {
        let _ = task.await;
    }
}

async fn write_condition(api: &dyn ResourceApi, pod: &PodFacts, reason: &str, message: &str) -> Result<(), ApiError> {
    let condition = json!({
        "type": "PodScheduled", "status": "False", "reason": reason, "message": message,
        "lastProbeTime": null,
        "lastTransitionTime": coracle_proto::time::render(jiff::Timestamp::now()),
    });
    let patch = json!({"metadata": {"uid": pod.meta.uid}, "status": {"conditions": [condition]}});
    api.patch(&PODS, &pod.meta.key, "status", Patch::Strategic(patch)).await.map(|_| ())
}
