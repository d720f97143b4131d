//! What to do next for one pod: pure. `plan` looks at what is wanted and what is there, never at what happened.

use super::resources::is_sidecar;
use super::state::{ContainerState, Ending, Kill, Op, Setup, State, Step, Why};
use crate::limits;
use coracle_runtime::{ContainerId, SandboxId, State as RunState};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    MountVolumes,
    PrepareSandbox,
    /// One whose namespaces are gone.
    ReplaceSandbox(SandboxId),
    Start {
        name: String,
        attempt: u32,
        /// Created before, never started.
        stale: Option<ContainerId>,
    },
    Stop {
        name: String,
        id: ContainerId,
        message: String,
        grace: Duration,
    },
    Withdraw,
    Release,
    TearDown,
    Delete,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// When to plan again, if nothing happens before.
    pub wake_at: Option<Timestamp>,
}

impl Plan {
    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

impl RestartPolicy {
    pub fn of(spec: &PodSpec) -> Self {
        match spec.restart_policy.as_deref() {
            Some("Never") => Self::Never,
            Some("OnFailure") => Self::OnFailure,
            _ => Self::Always,
        }
    }

    /// Of one container: sidecars always restart, other init containers never after success.
    pub fn of_container(self, container: &Container, init: bool) -> Self {
        match (init, is_sidecar(container), self) {
            (true, true, _) => Self::Always,
            (true, false, Self::Always) => Self::OnFailure,
            (_, _, policy) => policy,
        }
    }

    pub fn restarts(self, exit_code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => exit_code != 0,
            Self::Never => false,
        }
    }
}

pub fn plan(pod: &Pod, state: &State, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let Some(spec) = &pod.spec else { return plan };
    match &state.ending {
        Some(ending) => end(spec, state, ending, now, &mut plan),
        None if is_finished(spec, state) => release(state, now, &mut plan),
        None => run(pod, spec, state, now, &mut plan),
    }
    plan
}

/// Whether all its containers ended for good.
pub fn is_finished(spec: &PodSpec, state: &State) -> bool {
    if !state.is_still() {
        return false;
    }
    let policy = RestartPolicy::of(spec);
    if init_failed(spec, state) {
        return true;
    }
    spec.containers.iter().all(|c| ended_for_good(state.container(&c.name), policy))
}

fn ended_for_good(container: Option<&ContainerState>, policy: RestartPolicy) -> bool {
    container.and_then(ContainerState::exit_code).is_some_and(|code| !policy.restarts(code))
}

/// A pod that never restarts is lost with its first init container that fails.
pub fn init_failed(spec: &PodSpec, state: &State) -> bool {
    let mut once = spec.init_containers.iter().flatten().filter(|c| !is_sidecar(c));
    RestartPolicy::of(spec) == RestartPolicy::Never
        && !main_began(spec, state)
        && once.any(|c| state.container(&c.name).and_then(ContainerState::exit_code).is_some_and(|code| code != 0))
}

/// A main container was made: the init containers are done, whatever became of their records.
pub fn main_began(spec: &PodSpec, state: &State) -> bool {
    spec.containers.iter().any(|c| state.container(&c.name).is_some_and(|s| !s.attempts.is_empty()))
}

fn release(state: &State, now: Timestamp, plan: &mut Plan) {
    step(state.released, Action::Release, now, plan);
}

fn step(step: Step, action: Action, now: Timestamp, plan: &mut Plan) {
    if step.is_due(now) {
        plan.actions.push(action);
    } else if let Step::Failed { retry_at } = step {
        plan.wake(retry_at);
    }
}

/// Out of the services first, then the containers, the sidecars after the others, then all the rest.
fn end(spec: &PodSpec, state: &State, ending: &Ending, now: Timestamp, plan: &mut Plan) {
    if state.withdrawn != Step::Done {
        return step(state.withdrawn, Action::Withdraw, now, plan);
    }
    if !state.is_still() {
        return stop_all(spec, state, ending, now, plan);
    }
    if state.sandbox == Setup::Working {
        // It can be removed when it is there, and not before.
        return;
    }
    match ending.why {
        Why::Deadline => release(state, now, plan),
        _ if state.torn_down != Step::Done => step(state.torn_down, Action::TearDown, now, plan),
        Why::Deleted => step(state.deleted, Action::Delete, now, plan),
        Why::Gone | Why::StopAll => {}
    }
}

fn stop_all(spec: &PodSpec, state: &State, ending: &Ending, now: Timestamp, plan: &mut Plan) {
    let sidecar_names: Vec<&str> =
        spec.init_containers.iter().flatten().filter(|c| is_sidecar(c)).map(|c| c.name.as_str()).collect();
    let mut others = state.containers.iter().filter(|(name, _)| !sidecar_names.contains(&name.as_str())).peekable();
    let mut busy = false;
    for (name, container) in others.by_ref() {
        busy |= container.is_running() || container.op.is_some();
        stop_at_end(name, container, ending, now, plan);
    }
    if busy {
        return;
    }
    let mut sidecars = sidecar_names.iter().rev().filter_map(|name| Some((*name, state.container(name)?)));
    if let Some((name, container)) = sidecars.find(|(_, c)| c.is_running() || c.op.is_some()) {
        stop_at_end(name, container, ending, now, plan);
    }
}

fn stop_at_end(name: &str, container: &ContainerState, ending: &Ending, now: Timestamp, plan: &mut Plan) {
    let Some(last) = container.last().filter(|_| container.is_running()) else { return };
    let deadline = ending.deadline().max(now);
    let again = match container.op {
        None => true,
        Some(Op::Starting) => false,
        // The grace was shortened since.
        Some(Op::Stopping { deadline: planned }) => {
            deadline.saturating_add(Duration::from_secs(1)).is_ok_and(|d| d < planned)
        }
    };
    if again {
        let grace = deadline.duration_since(now).unsigned_abs();
        let message = format!("Stopping container {name}");
        plan.actions.push(Action::Stop { name: name.into(), id: last.id.clone(), message, grace });
    }
}

fn run(pod: &Pod, spec: &PodSpec, state: &State, now: Timestamp, plan: &mut Plan) {
    if let Some(deadline) = active_deadline(spec, state) {
        plan.wake(deadline);
    }
    let mut containers = Vec::new();
    let policy = RestartPolicy::of(spec);
    let began = main_began(spec, state);
    let mut blocked = false;
    for container in spec.init_containers.iter().flatten() {
        let known = state.container(&container.name);
        if !is_sidecar(container) && (began || known.and_then(ContainerState::exit_code) == Some(0)) {
            continue;
        }
        containers.push((container, policy.of_container(container, true)));
        let started = is_sidecar(container) && known.is_some_and(ContainerState::is_started);
        blocked = !began && !started;
        if blocked {
            break;
        }
    }
    if !blocked {
        if spec.containers.iter().all(|c| ended_for_good(state.container(&c.name), policy)) {
            return stop_sidecars(pod, spec, state, now, plan);
        }
        containers.extend(spec.containers.iter().map(|c| (c, policy)));
    }
    let wanted: Vec<Action> = containers
        .into_iter()
        .filter_map(|(container, policy)| one(pod, container, policy, state.container(&container.name), now, plan))
        .collect();
    set_up(state, wanted, now, plan);
}

/// When a pod has been active for long enough, if it says so.
pub fn active_deadline(spec: &PodSpec, state: &State) -> Option<Timestamp> {
    let seconds = u64::try_from(spec.active_deadline_seconds?).ok()?;
    state.started_at?.saturating_add(Duration::from_secs(seconds)).ok()
}

/// The pod's work is done: its sidecars go, the last first.
fn stop_sidecars(pod: &Pod, spec: &PodSpec, state: &State, now: Timestamp, plan: &mut Plan) {
    let sidecars = spec.init_containers.iter().flatten().filter(|c| is_sidecar(c)).rev();
    let mut known = sidecars.filter_map(|c| Some((&c.name, state.container(&c.name)?)));
    let Some((name, container)) = known.find(|(_, c)| c.is_running() || c.op.is_some()) else { return };
    let ending = Ending { why: Why::Gone, since: now, grace: grace_of(pod) };
    if container.op.is_none() {
        stop_at_end(name, container, &ending, now, plan);
    }
}

/// Starting needs volumes and a living sandbox first; stopping does not.
fn set_up(state: &State, wanted: Vec<Action>, now: Timestamp, plan: &mut Plan) {
    let starts = wanted.iter().any(|a| matches!(a, Action::Start { .. }));
    let runs = state.containers.values().any(ContainerState::is_running);
    if (starts || runs) && state.volumes.is_due(now) {
        plan.actions.push(Action::MountVolumes);
    }
    let sandbox = state.sandbox.ready();
    if starts && state.sandbox.is_due(now) {
        plan.actions.push(Action::PrepareSandbox);
    }
    if let Some(dead) = sandbox.filter(|s| starts && !s.alive) {
        plan.actions.push(Action::ReplaceSandbox(dead.id.clone()));
    }
    for retry_at in [retry(&state.volumes), retry(&state.sandbox)].into_iter().flatten() {
        plan.wake(retry_at);
    }
    let able = sandbox.is_some_and(|s| s.alive) && state.volumes.ready().is_some();
    plan.actions.extend(wanted.into_iter().filter(|a| able || !matches!(a, Action::Start { .. })));
}

fn retry<T>(setup: &super::state::Setup<T>) -> Option<Timestamp> {
    match setup {
        super::state::Setup::Failed { retry_at } => Some(*retry_at),
        _ => None,
    }
}

/// What one container needs now.
fn one(
    pod: &Pod,
    container: &Container,
    policy: RestartPolicy,
    known: Option<&ContainerState>,
    now: Timestamp,
    plan: &mut Plan,
) -> Option<Action> {
    let empty = ContainerState::default();
    let known = known.unwrap_or(&empty);
    if known.op.is_some() {
        return None;
    }
    let name = container.name.clone();
    let due = |at: Option<Timestamp>, plan: &mut Plan| match at {
        Some(at) if at > now => {
            plan.wake(at);
            false
        }
        _ => true,
    };
    let waits_until = known.wait.as_ref().map(|w| w.retry_at);
    if let Some((later, ..)) = known.wait.as_ref().and_then(|w| w.later.as_ref()).filter(|(at, ..)| *at > now) {
        plan.wake(*later);
    }
    let Some(last) = known.last() else {
        return due(waits_until, plan).then_some(Action::Start { name, attempt: known.next_attempt, stale: None });
    };
    match &last.state {
        RunState::Created => {
            due(waits_until, plan).then(|| Action::Start { name, attempt: last.attempt, stale: Some(last.id.clone()) })
        }
        RunState::Running { .. } => {
            let kill = reason_to_kill(container, known)?;
            let grace = kill.grace.unwrap_or_else(|| grace_of(pod));
            Some(Action::Stop { name, id: last.id.clone(), message: kill.message, grace })
        }
        RunState::Exited { exit_code, finished_at, .. } => {
            let due = policy.restarts(*exit_code) && due(waits_until.max(known.backoff.until(*finished_at)), plan);
            due.then_some(Action::Start { name, attempt: known.next_attempt, stale: None })
        }
    }
}

fn reason_to_kill(container: &Container, known: &ContainerState) -> Option<Kill> {
    if known.is_current() && known.live.kill.is_some() {
        return known.live.kill.clone();
    }
    let image = container.image.as_deref().unwrap_or_default();
    let changed = known.last().is_some_and(|last| last.image != image);
    changed.then(|| Kill {
        message: format!("Container {} definition changed, will be restarted", container.name),
        grace: None,
    })
}

/// `terminationGracePeriodSeconds`.
pub fn grace_of(pod: &Pod) -> Duration {
    let seconds = pod.spec.as_ref().and_then(|s| s.termination_grace_period_seconds);
    seconds.map_or(limits::GRACE_DEFAULT, |s| Duration::from_secs(u64::try_from(s).unwrap_or(1).max(1)))
}

#[cfg(test)]
mod tests;
