//! Sends a pod's status to the API: at once, one patch in flight, the latest only, until it is there.

use crate::limits;
use crate::link::Link;
use coracle_proto::resource::PODS;
use coracle_proto::{ObjectKey, Tree, meta};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// The pod's worker's end.
pub struct Reporter {
    latest: watch::Sender<Tree>,
    /// What the API is known to have.
    sent: watch::Receiver<Tree>,
    revision: Arc<AtomicU64>,
    again: watch::Sender<u64>,
    _task: AbortOnDropHandle<()>,
}

impl Reporter {
    pub fn start(link: Link, pod: &Pod) -> Self {
        let metadata = &pod.metadata;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let key = ObjectKey::new(text(&metadata.namespace), text(&metadata.name));
        let known = tree(&pod.status.clone().unwrap_or_default());
        let (latest, wanted) = watch::channel(known.clone());
        let (done, sent) = watch::channel(known);
        let (again, resend) = watch::channel(0);
        let revision = Arc::new(AtomicU64::new(0));
        let task = Task { link, key, uid: text(&metadata.uid), wanted, done, resend, revision: revision.clone() };
        Self { latest, sent, revision, again, _task: AbortOnDropHandle::new(tokio::spawn(task.run())) }
    }

    pub fn set(&self, status: &PodStatus) {
        let status = tree(status);
        self.latest.send_if_modified(|old| {
            let changed = *old != status;
            *old = status;
            changed
        });
    }

    /// The API's object as it came back: if somebody changed what is ours, it is sent again.
    pub fn observe(&self, pod: &Pod) {
        let revision = pod.metadata.resource_version.as_ref().and_then(|v| v.parse().ok()).unwrap_or(0);
        if revision <= self.revision.load(Ordering::Acquire) {
            return;
        }
        let (theirs, ours) = (tree(&pod.status.clone().unwrap_or_default()), self.sent.borrow().clone());
        if theirs["phase"] != ours["phase"] || ready_of(&theirs) != ready_of(&ours) {
            self.again.send_modify(|n| *n += 1);
        }
    }

    /// Ends when the API has the latest, refuses it for good, or is away for too long.
    pub fn flushed(&self) -> impl Future<Output = ()> + Send + 'static {
        let (latest, mut sent) = (self.latest.borrow().clone(), self.sent.clone());
        async move {
            let there = tokio::time::timeout(limits::LAST_STATUS_WAIT, sent.wait_for(|s| *s == latest)).await;
            if !there.is_ok_and(|s| s.is_ok()) {
                tracing::debug!("a pod's last status did not arrive before its end");
            }
        }
    }
}

fn tree(status: &PodStatus) -> Tree {
    serde_json::to_value(status).unwrap_or_default()
}

fn ready_of(status: &Tree) -> Option<&Tree> {
    let conditions = status["conditions"].as_array()?;
    conditions.iter().find(|c| c["type"] == "Ready").map(|c| &c["status"])
}

struct Task {
    link: Link,
    key: ObjectKey,
    uid: String,
    wanted: watch::Receiver<Tree>,
    done: watch::Sender<Tree>,
    resend: watch::Receiver<u64>,
    revision: Arc<AtomicU64>,
}

impl Task {
    async fn run(mut self) {
        loop {
            tokio::select! {
                changed = self.wanted.changed() => if changed.is_err() { return },
                changed = self.resend.changed() => if changed.is_err() { return },
            }
            if !self.send().await {
                return;
            }
        }
    }

    /// False once the pod is gone.
    async fn send(&mut self) -> bool {
        let mut wait = limits::STATUS_RETRY_FIRST;
        loop {
            let status = self.wanted.borrow_and_update().clone();
            let body = patch(&self.uid, &self.done.borrow(), &status);
            match self.link.patch(&PODS, &self.key, "status", &body).await {
                Ok(pod) => {
                    self.revision.store(meta::revision(&pod), Ordering::Release);
                    self.done.send_replace(status);
                    return true;
                }
                Err(error) if error.is_not_found() || error.is_other_uid() => {
                    tracing::debug!(%error, pod = %self.key, "a status came too late");
                    return false;
                }
                Err(error) => {
                    tracing::debug!(%error, pod = %self.key, "a status could not be sent yet");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(limits::STATUS_RETRY_MAX);
                }
            }
        }
    }
}

/// A merge patch: what is not there any more is said to be so. The UID makes it fail for a pod of the same name.
fn patch(uid: &str, before: &Tree, status: &Tree) -> Tree {
    let mut fields: Map<String, Value> = status.as_object().cloned().unwrap_or_default();
    for key in before.as_object().into_iter().flatten().map(|(key, _)| key) {
        // What others own and we never render is left alone.
        if !fields.contains_key(key) && OURS.contains(&key.as_str()) {
            fields.insert(key.clone(), Value::Null);
        }
    }
    json!({"metadata": {"uid": uid}, "status": fields})
}

const OURS: [&str; 5] = ["reason", "message", "podIP", "podIPs", "initContainerStatuses"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_said_and_what_others_own_is_left() {
        let before = json!({"phase": "Failed", "reason": "X", "nominatedNodeName": "n"});
        let body = patch("u", &before, &json!({"phase": "Running"}));
        assert_eq!(body, json!({"metadata": {"uid": "u"}, "status": {"phase": "Running", "reason": null}}));
    }
}
