//! `containerStatuses` and `initContainerStatuses`.

use crate::pods::backoff::go_duration;
use crate::pods::plan::RestartPolicy;
use crate::pods::resources::is_sidecar;
use crate::pods::state::{ContainerState, State};
use coracle_runtime as runtime;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState as ApiState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, Pod, PodSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub struct Seen<'a> {
    pub pod: &'a Pod,
    pub spec: &'a PodSpec,
    pub state: &'a State,
    /// Of the containers' IDs: the runtime's.
    pub scheme: &'a str,
    pub now: Timestamp,
}

impl Seen<'_> {
    pub fn status(&self, container: &Container, init: bool) -> ContainerStatus {
        let empty = ContainerState::default();
        let known = self.state.container(&container.name).unwrap_or(&empty);
        let last = known.last().filter(|c| !matches!(c.state, runtime::State::Created));
        let waiting = self.waiting(container, init, known);
        let ended = last.and_then(|c| self.terminated(c, known));
        let (state, last_state) = match (waiting, last) {
            (Some(waiting), _) => (waiting, ended),
            (None, None) => (self.first_wait(), None),
            (None, Some(last)) => (running(last).or(ended).unwrap_or_else(|| self.first_wait()), self.before(known)),
        };
        let regular_init = init && !is_sidecar(container);
        let done = state.terminated.as_ref().is_some_and(|t| t.exit_code == 0);
        ContainerStatus {
            name: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            image_id: last.map(|c| c.image_id.clone()).unwrap_or_default(),
            container_id: last.map(|c| self.container_id(&c.id)),
            restart_count: known.last().map_or(0, |c| i32::try_from(c.attempt).unwrap_or(i32::MAX)),
            ready: if regular_init { done } else { known.is_ready() },
            started: Some(if regular_init { false } else { known.is_started() }),
            last_state: Some(last_state.unwrap_or_default()),
            state: Some(state),
            ..ContainerStatus::default()
        }
    }

    /// Why there is no attempt to show, if one is due.
    fn waiting(&self, container: &Container, init: bool, known: &ContainerState) -> Option<ApiState> {
        if known.is_running() || (self.state.ending.is_some() && known.last().is_some()) {
            return None;
        }
        let policy = RestartPolicy::of(self.spec).of_container(container, init);
        if let Some(code) = known.exit_code() {
            if !policy.restarts(code) {
                return None;
            }
            if let Some(text) = self.crash_loop(container, known) {
                return Some(waiting("CrashLoopBackOff", text));
            }
        }
        let wait = known.wait.as_ref()?;
        let later = wait.later.as_ref().filter(|(at, ..)| *at <= self.now);
        Some(later.map_or_else(|| waiting(wait.reason, wait.message.clone()), |(_, r, m)| waiting(r, m.clone())))
    }

    fn crash_loop(&self, container: &Container, known: &ContainerState) -> Option<String> {
        let runtime::State::Exited { finished_at, .. } = known.last()?.state else { return None };
        known.backoff.until(finished_at).filter(|until| *until > self.now && known.op.is_none())?;
        let metadata = &self.pod.metadata;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Some(format!(
            "back-off {} restarting failed container={} pod={}_{}({})",
            go_duration(known.backoff.delay()),
            container.name,
            text(&metadata.name),
            text(&metadata.namespace),
            text(&metadata.uid),
        ))
    }

    fn first_wait(&self) -> ApiState {
        let has_init = self.spec.init_containers.as_ref().is_some_and(|i| !i.is_empty());
        let reason = if has_init { "PodInitializing" } else { "ContainerCreating" };
        ApiState {
            waiting: Some(ContainerStateWaiting { reason: Some(reason.into()), message: None }),
            ..ApiState::default()
        }
    }

    fn container_id(&self, id: &runtime::ContainerId) -> String {
        format!("{}://{}", self.scheme, id.0)
    }

    /// The attempt before the last.
    fn before(&self, known: &ContainerState) -> Option<ApiState> {
        let at = known.attempts.len().checked_sub(2)?;
        self.terminated(&known.attempts[at], known)
    }

    fn terminated(&self, container: &runtime::Container, known: &ContainerState) -> Option<ApiState> {
        let runtime::State::Exited { started_at, finished_at, exit_code, oom_killed, message, .. } = &container.state
        else {
            return None;
        };
        let reason = match (started_at, exit_code) {
            (None, _) => "ContainerCannotRun",
            _ if *oom_killed => "OOMKilled",
            (_, 0) => "Completed",
            _ => "Error",
        };
        let words = known.messages.get(&container.id).filter(|m| !m.is_empty()).unwrap_or(message);
        Some(ApiState {
            terminated: Some(ContainerStateTerminated {
                container_id: Some(self.container_id(&container.id)),
                exit_code: *exit_code,
                // Upstream leaves it out: the exit code has it.
                signal: None,
                reason: Some(reason.to_owned()),
                message: (!words.is_empty()).then(|| words.clone()),
                started_at: started_at.map(Time),
                finished_at: Some(Time(*finished_at)),
            }),
            ..ApiState::default()
        })
    }
}

fn waiting(reason: &str, message: String) -> ApiState {
    let message = (!message.is_empty()).then_some(message);
    ApiState { waiting: Some(ContainerStateWaiting { reason: Some(reason.into()), message }), ..ApiState::default() }
}

fn running(container: &runtime::Container) -> Option<ApiState> {
    let runtime::State::Running { started_at, .. } = container.state else { return None };
    Some(ApiState {
        running: Some(ContainerStateRunning { started_at: Some(Time(started_at)) }),
        ..ApiState::default()
    })
}
