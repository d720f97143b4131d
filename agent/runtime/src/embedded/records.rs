//! What the agent keeps on disk about sandboxes and containers, and how a container's state follows from its files.

use crate::shim::job::{Exit, Running};
use crate::{Container, ContainerId, ContainerSpec, PodIdentity, SandboxId, SandboxSpec, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SandboxRecord {
    pub id: SandboxId,
    pub spec: SandboxSpec,
    pub created_at: Timestamp,
    /// The kernel's boot that its namespaces belong to.
    pub boot: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerRecord {
    pub id: ContainerId,
    pub sandbox: SandboxId,
    pub pod: PodIdentity,
    pub spec: ContainerSpec,
    pub created_at: Timestamp,
    /// Relative to the hierarchies.
    pub cgroup: String,
    /// What asks it to stop.
    pub stop_signal: i32,
}

impl ContainerRecord {
    pub fn shown(&self, state: State) -> Container {
        Container {
            id: self.id.clone(),
            sandbox: self.sandbox.clone(),
            pod: self.pod.clone(),
            name: self.spec.name.clone(),
            attempt: self.spec.attempt,
            image: self.spec.image.clone(),
            image_id: self.spec.image_id.clone(),
            labels: self.spec.labels.clone(),
            created_at: self.created_at,
            state,
        }
    }
}

pub fn exited(exit: Exit) -> State {
    State::Exited {
        started_at: exit.started_at,
        finished_at: exit.finished_at,
        exit_code: exit.code,
        signal: exit.signal,
        oom_killed: exit.oom_killed,
        message: exit.message,
    }
}

/// What [`exited`] was given, if it has ended.
pub fn exit_of(state: State) -> Option<Exit> {
    match state {
        State::Exited { started_at, finished_at, exit_code, signal, oom_killed, message } => {
            Some(Exit { started_at, finished_at, code: exit_code, signal, oom_killed, message })
        }
        State::Created | State::Running { .. } => None,
    }
}

pub fn running(running: &Running) -> State {
    State::Running { started_at: running.started_at, pid: running.pid }
}

/// A container whose shim is gone without a word: killed, or the host went down under it.
pub fn lost(running: Option<&Running>, now: Timestamp) -> Exit {
    Exit {
        started_at: running.map(|running| running.started_at),
        finished_at: now,
        code: LOST,
        signal: None,
        oom_killed: false,
        message: "its shim is gone: the node restarted, or the shim was killed; the container was ended".to_owned(),
    }
}

/// As Kubernetes reports a container whose end nobody saw.
const LOST: i32 = 137;

pub fn state_name(state: &State) -> &'static str {
    match state {
        State::Created => "created",
        State::Running { .. } => "running",
        State::Exited { .. } => "exited",
    }
}

/// The number of a signal as an image names it: `SIGQUIT`, `QUIT`, `3`; what nobody knows is SIGTERM.
pub fn stop_signal(name: Option<&str>) -> i32 {
    use nix::sys::signal::Signal;
    let Some(name) = name.map(str::trim).filter(|name| !name.is_empty()) else { return Signal::SIGTERM as i32 };
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    let number = name.parse().ok().filter(|number| (1..=64).contains(number));
    number.or_else(|| full.parse::<Signal>().ok().map(|signal| signal as i32)).unwrap_or(Signal::SIGTERM as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_signals_are_read_in_every_form() {
        for (name, want) in [(None, 15), (Some(""), 15), (Some("SIGQUIT"), 3), (Some("int"), 2), (Some("9"), 9)] {
            assert_eq!(stop_signal(name), want, "{name:?}");
        }
        assert_eq!(stop_signal(Some("SIGNONSENSE")), 15);
        assert_eq!(stop_signal(Some("900")), 15);
    }
}
