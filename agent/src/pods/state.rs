//! Everything the worker of one pod knows: plain data, so that planning and rendering are pure.

use super::backoff::Backoff;
use coracle_runtime::{Container, ContainerId, SandboxId, State as RunState};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub sandbox: Setup<SandboxFacts>,
    pub volumes: Setup<()>,
    /// By name; init containers too.
    pub containers: BTreeMap<String, ContainerState>,
    pub ending: Option<Ending>,
    /// Out of this node's service rules, before its containers are told to stop.
    pub withdrawn: Step,
    /// Of a pod that ran to its end: address and volumes given back.
    pub released: Step,
    /// Of a pod that goes: nothing of it is left on the node.
    pub torn_down: Step,
    /// The API knows that it is gone.
    pub deleted: Step,
    /// `status.startTime`.
    pub started_at: Option<Timestamp>,
    /// `status.reason` and `.message` of a pod that the node gave up.
    pub failure: Option<(&'static str, String)>,
}

/// Something that must be there before containers can run.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Setup<T> {
    #[default]
    Absent,
    Working,
    Ready(T),
    Failed {
        retry_at: Timestamp,
    },
}

/// Something that happens once.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Step {
    #[default]
    Open,
    Working,
    Done,
    Failed {
        retry_at: Timestamp,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct SandboxFacts {
    pub id: SandboxId,
    /// The node's own address on the host's network.
    pub ip: Option<Ipv4Addr>,
    pub netns: Option<PathBuf>,
    pub alive: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerState {
    /// What the runtime has of it, the oldest first.
    pub attempts: Vec<Container>,
    pub op: Option<Op>,
    /// Why the next attempt could not be made.
    pub wait: Option<Wait>,
    pub backoff: Backoff,
    pub pull_backoff: Backoff,
    pub live: Live,
    /// Where the attempts went with their sandbox: the next one's number.
    pub next_attempt: u32,
    /// What ended attempts left as their last words.
    pub messages: BTreeMap<ContainerId, String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    Starting,
    /// It will be killed at `deadline`.
    Stopping {
        deadline: Timestamp,
    },
}

/// `state.waiting` of a container that could not be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Wait {
    pub reason: &'static str,
    pub message: String,
    /// What it turns into while it waits, and when: `ErrImagePull` becomes `ImagePullBackOff`.
    pub later: Option<(Timestamp, &'static str, String)>,
    pub retry_at: Timestamp,
}

/// About the attempt that runs now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    pub id: Option<ContainerId>,
    /// Its postStart hook is done.
    pub hooked: bool,
    /// Its startup probe passed; true where it has none.
    pub startup_passed: bool,
    /// Its readiness probe passes; true where it has none.
    pub passes: bool,
    /// It must be restarted, and why.
    pub kill: Option<Kill>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Kill {
    pub message: String,
    /// Overrides the pod's.
    pub grace: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    pub why: Why,
    pub since: Timestamp,
    pub grace: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// `metadata.deletionTimestamp` is set.
    Deleted,
    /// The API does not have it any more.
    Gone,
    /// It was active for too long; the object stays.
    Deadline,
    /// The node stops all its pods.
    StopAll,
}

impl Ending {
    pub fn deadline(&self) -> Timestamp {
        self.since.saturating_add(self.grace).unwrap_or(Timestamp::MAX)
    }
}

impl ContainerState {
    pub fn last(&self) -> Option<&Container> {
        self.attempts.last()
    }

    pub fn is_running(&self) -> bool {
        self.last().is_some_and(|c| matches!(c.state, RunState::Running { .. }))
    }

    /// The exit code of the last attempt, if it ended.
    pub fn exit_code(&self) -> Option<i32> {
        match self.last()?.state {
            RunState::Exited { exit_code, .. } => Some(exit_code),
            _ => None,
        }
    }

    /// Running, its hook done and its startup probe passed.
    pub fn is_started(&self) -> bool {
        self.is_running() && self.is_current() && self.live.hooked && self.live.startup_passed
    }

    pub fn is_ready(&self) -> bool {
        self.is_started() && self.live.passes
    }

    /// What `live` says is about the last attempt.
    pub fn is_current(&self) -> bool {
        self.live.id.is_some() && self.live.id.as_ref() == self.last().map(|c| &c.id)
    }

    /// Takes what the runtime has now of one attempt.
    pub fn observe(&mut self, container: Container) {
        self.next_attempt = self.next_attempt.max(container.attempt + 1);
        match self.attempts.iter_mut().find(|c| c.id == container.id) {
            Some(known) => *known = container,
            None => {
                self.attempts.push(container);
                self.attempts.sort_by_key(|c| (c.attempt, c.created_at));
            }
        }
    }
}

impl State {
    pub fn container(&self, name: &str) -> Option<&ContainerState> {
        self.containers.get(name)
    }

    /// Nothing runs and nothing is being started or stopped.
    pub fn is_still(&self) -> bool {
        self.containers.values().all(|c| !c.is_running() && c.op.is_none())
    }
}

impl Step {
    /// Whether to do it now.
    pub fn is_due(&self, now: Timestamp) -> bool {
        match self {
            Self::Open => true,
            Self::Failed { retry_at } => *retry_at <= now,
            Self::Working | Self::Done => false,
        }
    }
}

impl<T> Setup<T> {
    pub fn is_due(&self, now: Timestamp) -> bool {
        match self {
            Self::Absent => true,
            Self::Failed { retry_at } => *retry_at <= now,
            Self::Working | Self::Ready(_) => false,
        }
    }

    pub fn ready(&self) -> Option<&T> {
        match self {
            Self::Ready(facts) => Some(facts),
            _ => None,
        }
    }
}
