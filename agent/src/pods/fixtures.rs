//! Pods and container attempts for the tables of `plan` and `status`.

use super::state::{Ending, Live, SandboxFacts, Setup, State, Step, Why};
use coracle_runtime::{Container, ContainerId, PodIdentity, SandboxId, State as RunState};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::time::Duration;

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

/// `p` in namespace `d`. Containers run image `i` unless they say otherwise.
pub fn pod(mut spec: Value) -> Pod {
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            if container["image"].is_null() {
                container["image"] = json!("i");
            }
        }
    }
    let metadata = json!({"name": "p", "namespace": "d", "uid": "u"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).expect("a pod")
}

pub fn running(name: &str, attempt: u32) -> Container {
    container(name, attempt, RunState::Running { started_at: at(1), pid: 7 })
}

/// Ended at second 10.
pub fn exited(name: &str, attempt: u32, exit_code: i32) -> Container {
    let (started_at, message) = (Some(at(1)), String::new());
    let ended =
        RunState::Exited { started_at, finished_at: at(10), exit_code, signal: None, oom_killed: false, message };
    container(name, attempt, ended)
}

pub fn container(name: &str, attempt: u32, state: RunState) -> Container {
    Container {
        id: ContainerId(format!("{name}-{attempt}")),
        sandbox: SandboxId("s".into()),
        pod: PodIdentity { namespace: "d".into(), name: "p".into(), uid: "u".into() },
        name: name.into(),
        attempt,
        image: "i".into(),
        image_id: "sha256:1".into(),
        labels: Default::default(),
        created_at: at(0),
        state,
    }
}

/// Volumes mounted, sandbox alive, and these attempts; what runs has started and is ready.
pub fn state(attempts: Vec<Container>) -> State {
    let ip = Some("10.1.0.5".parse().expect("an address"));
    let mut state = State {
        sandbox: Setup::Ready(SandboxFacts { id: SandboxId("s".into()), ip, netns: None, alive: true }),
        volumes: Setup::Ready(()),
        started_at: Some(at(0)),
        ..State::default()
    };
    for attempt in attempts {
        let known = state.containers.entry(attempt.name.clone()).or_default();
        if matches!(attempt.state, RunState::Running { .. }) {
            let id = Some(attempt.id.clone());
            known.live = Live { id, hooked: true, startup_passed: true, passes: true, kill: None };
        }
        known.observe(attempt);
    }
    state
}

/// As [`state`], deleted at second 20 with that grace, and out of the services.
pub fn ending(why: Why, grace_seconds: u64, attempts: Vec<Container>) -> State {
    let mut state = state(attempts);
    state.ending = Some(Ending { why, since: at(20), grace: Duration::from_secs(grace_seconds) });
    state.withdrawn = Step::Done;
    state
}
