//! Beginning what was planned. Nothing here waits.

use super::Worker;
use super::tell::is_ready;
use crate::pods::env::container_named;
use crate::pods::ops::{self, Done};
use crate::pods::plan::Action;
use crate::pods::start::{self, Attempt};
use crate::pods::state::{Op, Setup, Step, Why};
use crate::pods::stop::Stopping;
use crate::probes::{Checks, ProbeContext};
use crate::volumes::follows_content;
use coracle_runtime::{ContainerId, State as RunState};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;
use std::net::Ipv4Addr;
use std::time::Duration;

impl Worker {
    fn ip(&self) -> Option<Ipv4Addr> {
        self.state.sandbox.ready().and_then(|s| s.ip)
    }

    pub(super) fn perform(&mut self, action: Action, now: Timestamp) {
        let (context, pod, uid) = (self.context.clone(), self.pod.clone(), self.uid.clone());
        tracing::debug!(uid, ?action, "doing");
        match action {
            Action::MountVolumes => {
                self.state.volumes = Setup::Working;
                self.spawn_volumes();
            }
            Action::PrepareSandbox => {
                self.state.sandbox = Setup::Working;
                self.ops.spawn(ops::prepare_sandbox(context, pod));
            }
            Action::ReplaceSandbox(id) => {
                self.context.normal(
                    &self.pod,
                    "SandboxChanged",
                    "Pod sandbox changed, it will be killed and re-created.",
                );
                self.state.sandbox = Setup::Working;
                self.ops.spawn(ops::replace(context, id, uid));
            }
            Action::Start { name, attempt, stale } => self.start(&name, attempt, stale, now),
            Action::Stop { name, id, message, grace } => self.stop(&name, id, message, grace, now),
            Action::Withdraw => {
                self.cancel.cancel();
                self.state.withdrawn = Step::Working;
                let stays = self.state.ending.as_ref().is_some_and(|e| e.why != Why::StopAll);
                let was_ready = stays && is_ready(&self.status);
                self.ops.spawn(ops::withdraw(context, uid, was_ready));
            }
            Action::Release => {
                self.state.released = Step::Working;
                self.ops.spawn(ops::release(context, uid));
            }
            Action::TearDown => {
                self.state.torn_down = Step::Working;
                let sandbox = self.state.sandbox.ready().map(|s| s.id.clone());
                self.ops.spawn(ops::tear_down(context, pod, sandbox));
            }
            Action::Delete => {
                self.state.deleted = Step::Working;
                self.ops.spawn(ops::delete(context, pod, self.reporter.flushed()));
            }
        }
    }

    fn spawn_volumes(&mut self) {
        self.refresh.begin();
        let (held, tokens) = (self.held.clone(), self.tokens.clone());
        self.ops.spawn(ops::volumes(self.context.clone(), self.pod.clone(), self.ip(), held, tokens));
    }

    /// When volumes of content are to follow what they are made of, as they do while they are mounted.
    pub(super) fn refresh_at(&self) -> Option<Timestamp> {
        let live = self.state.ending.is_none() && self.state.released == Step::Open && !self.frozen;
        if !live || self.state.volumes.ready().is_none() || !follows_content(&self.pod) {
            return None;
        }
        self.refresh.due_at(self.tokens.values().map(|t| t.renew_at).min())
    }

    pub(super) fn refresh_volumes(&mut self, now: Timestamp) {
        if self.refresh_at().is_some_and(|at| at <= now) {
            self.spawn_volumes();
        }
    }

    fn start(&mut self, name: &str, number: u32, stale: Option<ContainerId>, now: Timestamp) {
        let Some(container) = container_named(&self.pod, name).cloned() else { return };
        let Some(sandbox) = self.state.sandbox.ready().cloned() else { return };
        let known = self.state.containers.entry(name.to_owned()).or_default();
        known.op = Some(Op::Starting);
        if known.exit_code().is_some() {
            known.backoff = known.backoff.next(now);
        }
        known.attempts.retain(|a| Some(&a.id) != stale.as_ref());
        let attempt = Attempt {
            context: self.context.clone(),
            pod: self.pod.clone(),
            container,
            number,
            stale,
            sandbox,
            objects: ops::known(&self.held),
            cancel: self.cancel.clone(),
        };
        let mut held = self.held.clone();
        self.ops.spawn(async move {
            let mut attempt = attempt;
            ops::wait_for_objects(&mut held).await;
            attempt.objects = ops::known(&held);
            let result = attempt.run().await;
            Done::Started { name: attempt.container.name, result }
        });
    }

    fn stop(&mut self, name: &str, id: ContainerId, message: String, grace: Duration, now: Timestamp) {
        // One that the pod does not name any more has no hooks to run.
        let nameless = || Container { name: name.to_owned(), ..Container::default() };
        let container = container_named(&self.pod, name).cloned().unwrap_or_else(nameless);
        let deadline = now.saturating_add(grace).unwrap_or(Timestamp::MAX);
        let known = self.state.containers.entry(name.to_owned()).or_default();
        known.op = Some(Op::Stopping { deadline });
        let stopping = Stopping {
            context: self.context.clone(),
            pod: self.pod.clone(),
            container,
            id,
            host: start::host(self.state.sandbox.ready().and_then(|s| s.ip)),
            message,
            grace,
        };
        self.ops.spawn(async move {
            let result = stopping.run().await;
            if result.is_err() {
                tokio::time::sleep(crate::limits::STOP_RETRY).await;
            }
            Done::Stopped { name: stopping.container.name, id: stopping.id, result }
        });
    }

    /// Every running attempt has its probes, every other has none.
    pub(super) fn keep_checks(&mut self) {
        let (state, checks) = (&self.state, &mut self.checks);
        checks.retain(|name, check| {
            let known = state.containers.get(name);
            known.is_some_and(|k| k.is_running() && k.is_current() && k.live.id.as_ref() == Some(&check.id))
        });
        let host = start::host(state.sandbox.ready().and_then(|s| s.ip));
        for (name, known) in &state.containers {
            let running = known.last().filter(|_| known.is_current() && known.live.hooked);
            let Some(RunState::Running { started_at, .. }) = running.map(|c| &c.state) else { continue };
            if let Some(check) = checks.get_mut(name) {
                if known.is_started() {
                    check.set_started();
                }
                if state.ending.is_some() || known.live.kill.is_some() {
                    check.stop_liveness();
                }
                continue;
            }
            let (Some(container), Some(id)) = (container_named(&self.pod, name), known.live.id.clone()) else {
                continue;
            };
            let runtime = self.context.runtime.clone();
            let context = ProbeContext { runtime, host: host.clone(), reports: self.reports.0.clone() };
            checks.insert(name.clone(), Checks::start(&context, container, id, *started_at, known.is_started()));
        }
    }
}
