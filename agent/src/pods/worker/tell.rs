//! Telling the API, the events and this node's services what became of the pod.

use super::Worker;
use crate::checkpoint::Kind;
use crate::pods::state::{Step, Why};
use crate::pods::status;
use crate::services::LocalState;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, PodStatus};

impl Worker {
    pub(super) async fn tell(&mut self, now: Timestamp) {
        let over = self.state.torn_down != Step::Open || self.stops_quietly();
        if self.frozen || over {
            return;
        }
        let previous = self.previous();
        let next = status::render(&self.pod, &self.state, &self.context.place(), &previous, now);
        self.tell_services(is_ready(&next)).await;
        self.tell_backoffs(&next);
        self.reporter.set(&next);
        self.keep(&next);
        self.context.statuses.put(&self.uid, next.clone());
        self.status = next;
    }

    /// For the next agent: what runs is as ready as it was last seen here.
    fn keep(&self, next: &PodStatus) {
        if *next == self.status {
            return;
        }
        match serde_json::to_vec(next) {
            Ok(json) => self.context.checkpoint.put(Kind::PodStatus, self.uid.clone(), json.into()),
            Err(error) => tracing::warn!(%error, "a status could not be kept"),
        }
    }

    /// A pod that the API lost has nobody to be told about; one that stops with its node comes back with it.
    fn stops_quietly(&self) -> bool {
        self.state.ending.as_ref().is_some_and(|e| matches!(e.why, Why::Gone | Why::StopAll))
    }

    /// Our conditions as last told, everybody else's as the API has them.
    fn previous(&self) -> PodStatus {
        let mut previous = self.status.clone();
        let theirs = self.pod.status.clone().unwrap_or_default().conditions.unwrap_or_default();
        let mut conditions: Vec<_> = previous.conditions.take().unwrap_or_default();
        conditions.retain(|c| OURS.contains(&c.type_.as_str()));
        let known: Vec<String> = conditions.iter().map(|c| c.type_.clone()).collect();
        conditions.extend(theirs.into_iter().filter(|c| !known.contains(&c.type_)));
        previous.conditions = Some(conditions);
        previous
    }

    /// A pod that stops being ready leaves this node's services now, not when the API has gone round.
    async fn tell_services(&mut self, ready: bool) {
        if self.state.ending.is_some() {
            return;
        }
        let was_ready = is_ready(&self.status);
        if was_ready && !ready && !self.said_unready {
            self.said_unready = true;
            self.context.services.set_local(&self.uid, Some(LocalState::NotReady)).await;
        } else if ready && self.said_unready {
            self.said_unready = false;
            self.context.services.set_local(&self.uid, None).await;
        }
    }

    fn tell_backoffs(&self, next: &PodStatus) {
        for status in statuses(next) {
            let reason = waiting_reason(status);
            let before = statuses(&self.status).find(|s| s.name == status.name).and_then(waiting_reason);
            if reason == before {
                continue;
            }
            let event = |reason, message| self.context.container_event(&self.pod, &status.name, true, reason, message);
            let metadata = &self.pod.metadata;
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            match reason {
                Some("CrashLoopBackOff") => {
                    let (name, namespace) = (text(&metadata.name), text(&metadata.namespace));
                    let container = &status.name;
                    let uid = &self.uid;
                    event(
                        "BackOff",
                        format!("Back-off restarting failed container {container} in pod {name}_{namespace}({uid})"),
                    );
                }
                Some("ImagePullBackOff") => {
                    self.context.container_event(
                        &self.pod,
                        &status.name,
                        false,
                        "BackOff",
                        format!("Back-off pulling image {:?}", status.image),
                    );
                    event("Failed", "Error: ImagePullBackOff".to_owned());
                }
                _ => {}
            }
        }
    }
}

const OURS: [&str; 4] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"];

fn statuses(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
}

fn waiting_reason(status: &ContainerStatus) -> Option<&str> {
    status.state.as_ref()?.waiting.as_ref()?.reason.as_deref()
}

pub fn is_ready(status: &PodStatus) -> bool {
    status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}
