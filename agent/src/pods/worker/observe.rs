//! What comes back to a worker: runtime events, probe reports, the ends of what it began.

use super::Worker;
use crate::limits;
use crate::pods::backoff::Backoff;
use crate::pods::context::Context;
use crate::pods::env::container_named;
use crate::pods::ops::Done;
use crate::pods::start::StartFailure;
use crate::pods::state::{ContainerState, Kill, Live, Op, Setup, Step, Wait};
use crate::pods::stop;
use crate::probes::{ProbeKind, ProbeReport, Settings, Verdict};
use coracle_runtime::{Container, ContainerId, RuntimeError, State as RunState};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

fn after(wait: Duration) -> Timestamp {
    Timestamp::now().saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// Has an ended attempt's last words read.
pub fn read_words(context: &Arc<Context>, pod: &Arc<Pod>, attempt: &Container, ops: &mut JoinSet<Done>) {
    let Some(container) = container_named(pod, &attempt.name).cloned() else { return };
    let (context, id, number) = (context.clone(), attempt.id.clone(), attempt.attempt);
    let failed = !matches!(attempt.state, RunState::Exited { exit_code: 0, .. });
    let folder = context.folder(&attempt.pod.uid);
    ops.spawn(async move {
        let text = stop::last_words(&context, &folder, &container, &id, number, failed).await;
        Done::Words { name: container.name, id, text }
    });
}

impl Worker {
    /// Asks the runtime about every container that changed.
    pub(super) async fn look(&mut self) {
        for id in self.signals.take() {
            self.look_at(&id).await;
        }
    }

    async fn look_at(&mut self, id: &ContainerId) {
        match self.context.runtime.container(id).await {
            Ok(container) => {
                tracing::debug!(uid = self.uid, name = container.name, state = ?container.state, "seen");
                self.take_container(container);
            }
            Err(RuntimeError::NotFound { .. }) => {
                if self.state.torn_down == Step::Open {
                    self.state.containers.values_mut().for_each(|c| c.attempts.retain(|a| a.id != *id));
                }
            }
            Err(error) => {
                tracing::warn!(%error, container = id.0, "a container could not be looked at; looking again");
                let (signals, id) = (self.signals.clone(), id.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(limits::SETUP_RETRY).await;
                    signals.raise(id);
                });
            }
        }
    }

    fn take_container(&mut self, container: Container) {
        let known = self.state.containers.entry(container.name.clone()).or_default();
        let had_ended =
            known.attempts.iter().any(|c| c.id == container.id && matches!(c.state, RunState::Exited { .. }));
        if matches!(container.state, RunState::Exited { .. }) && !had_ended {
            read_words(&self.context, &self.pod, &container, &mut self.ops);
        }
        known.observe(container);
    }

    pub(super) fn take_report(&mut self, report: ProbeReport) {
        let Some(container) = container_named(&self.pod, &report.container) else { return };
        let kind = report.kind;
        if let Some(failure) = &report.failure {
            let message = format!("{} probe failed: {failure}", kind.name());
            self.context.container_event(&self.pod, &report.container, true, "Unhealthy", message);
        }
        let Some(known) = self.state.containers.get_mut(&report.container) else { return };
        if known.live.id.as_ref() != Some(&report.id) {
            return;
        }
        let grace =
            |probe: &Option<k8s_openapi::api::core::v1::Probe>| probe.as_ref().and_then(|p| Settings::of(p).grace);
        let kill = |grace| {
            let message =
                format!("Container {} failed {} probe, will be restarted", container.name, kind.name().to_lowercase());
            Some(Kill { message, grace })
        };
        match (kind, report.verdict) {
            (_, None) | (ProbeKind::Liveness, Some(Verdict::Passes)) => {}
            (ProbeKind::Readiness, Some(verdict)) => known.live.passes = verdict == Verdict::Passes,
            (ProbeKind::Startup, Some(Verdict::Passes)) => known.live.startup_passed = true,
            (ProbeKind::Startup, Some(Verdict::Fails)) => known.live.kill = kill(grace(&container.startup_probe)),
            (ProbeKind::Liveness, Some(Verdict::Fails)) => known.live.kill = kill(grace(&container.liveness_probe)),
        }
    }

    pub(super) async fn finish(&mut self, done: Done) {
        tracing::debug!(uid = self.uid, ?done, "done");
        match done {
            Done::Sandbox(result) => {
                self.state.sandbox = self.set_up(result, "FailedCreatePodSandBox", "Failed to create pod sandbox: ")
            }
            Done::Reconnected(Ok(facts)) => self.state.sandbox = Setup::Ready(facts),
            Done::Reconnected(Err(why)) => tracing::warn!(why, pod = self.uid, "a pod could not be reconnected"),
            Done::Replaced(result) => self.replaced(result),
            Done::Volumes(result) => self.volumes_done(result),
            Done::Started { name, result } => self.started(&name, result).await,
            Done::Stopped { name, id, result } => self.stopped(&name, &id, result).await,
            Done::Words { name, id, text } => {
                self.state.containers.entry(name).or_default().messages.insert(id, text);
            }
            Done::Collected { name, id } => {
                let known = self.state.containers.entry(name).or_default();
                known.attempts.retain(|a| a.id != id);
                known.messages.remove(&id);
            }
            Done::Withdrawn => self.state.withdrawn = Step::Done,
            Done::Released(result) => self.state.released = self.stepped(result, "released"),
            Done::TornDown(result) => self.state.torn_down = self.stepped(result, "removed"),
            Done::Deleted(result) => self.state.deleted = self.stepped(result.map_err(|e| e.to_string()), "deleted"),
        }
    }

    fn set_up<T>(&self, result: Result<T, String>, reason: &'static str, prefix: &str) -> Setup<T> {
        result.map_or_else(
            |why| {
                self.context.warn(&self.pod, reason, format!("{prefix}{why}"));
                Setup::Failed { retry_at: after(limits::SETUP_RETRY) }
            },
            Setup::Ready,
        )
    }

    fn stepped(&self, result: Result<(), String>, what: &'static str) -> Step {
        match result {
            Ok(()) => Step::Done,
            Err(error) => {
                tracing::warn!(error, pod = self.uid, what, "a pod could not be taken down yet");
                Step::Failed { retry_at: after(limits::SETUP_RETRY) }
            }
        }
    }

    fn volumes_done(&mut self, result: Result<crate::volumes::Tokens, crate::volumes::VolumeFailure>) {
        let was_mounted = self.state.volumes.ready().is_some();
        match result {
            Ok(tokens) => {
                self.refresh.end(None);
                self.tokens = tokens;
                self.state.volumes = Setup::Ready(());
            }
            Err(failure) => {
                self.context.warn(&self.pod, "FailedMount", failure.to_string());
                let retry_at = after(limits::SETUP_RETRY);
                self.refresh.end(Some(retry_at));
                if !was_mounted {
                    self.state.volumes = Setup::Failed { retry_at };
                }
            }
        }
    }

    /// The containers went with the old sandbox; their numbers stay.
    fn replaced(&mut self, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.state.sandbox = Setup::Absent;
                for container in self.state.containers.values_mut() {
                    container.attempts.clear();
                    container.live = Live::default();
                }
            }
            Err(why) => {
                tracing::warn!(why, pod = self.uid, "a dead sandbox could not be removed");
                self.state.sandbox = Setup::Failed { retry_at: after(limits::SETUP_RETRY) };
            }
        }
    }

    async fn started(&mut self, name: &str, result: Result<Option<ContainerId>, StartFailure>) {
        let created = matches!(&result, Err(failure) if failure.created);
        if let Ok(Some(id)) = &result {
            self.look_at(id).await;
        } else if created {
            self.look_at_all().await;
        }
        let spec = container_named(&self.pod, name);
        let has = |probe: Option<&k8s_openapi::api::core::v1::Probe>| probe.is_some();
        let (startup, readiness) =
            (has(spec.and_then(|c| c.startup_probe.as_ref())), has(spec.and_then(|c| c.readiness_probe.as_ref())));
        let image = spec.and_then(|c| c.image.clone()).unwrap_or_default();
        let known = self.state.containers.entry(name.to_owned()).or_default();
        known.op = None;
        match result {
            Ok(None) => {}
            Ok(Some(id)) => {
                (known.wait, known.pull_backoff) = (None, Backoff::default());
                known.live =
                    Live { id: Some(id), hooked: true, startup_passed: !startup, passes: !readiness, kill: None };
            }
            Err(failure) => set_wait(known, failure, &image),
        }
        self.collect(name);
    }

    /// All containers of the pod, for what was made without our hearing its name.
    async fn look_at_all(&mut self) {
        match self.context.runtime.containers().await {
            Ok(all) => {
                let uid = self.uid.clone();
                all.into_iter().filter(|c| c.pod.uid == uid).for_each(|c| self.take_container(c));
            }
            Err(error) => tracing::warn!(%error, pod = self.uid, "the containers could not be listed"),
        }
    }

    async fn stopped(&mut self, name: &str, id: &ContainerId, result: Result<(), RuntimeError>) {
        if let Err(error) = &result {
            tracing::warn!(%error, container = name, "a container could not be stopped");
            self.context.container_event(&self.pod, name, true, "FailedKillPod", error.to_string());
        }
        self.look_at(id).await;
        let known = self.state.containers.entry(name.to_owned()).or_default();
        if matches!(known.op, Some(Op::Stopping { .. })) {
            known.op = None;
        }
    }

    /// Old attempts go, with their logs; the last one and the one before stay.
    fn collect(&mut self, name: &str) {
        let Some(known) = self.state.containers.get(name) else { return };
        let surplus = known.attempts.len().saturating_sub(1 + limits::DEAD_CONTAINERS_KEPT);
        let old = known.attempts.iter().take(surplus).filter(|a| matches!(a.state, RunState::Exited { .. }));
        for id in old.map(|a| a.id.clone()) {
            let (runtime, name) = (self.context.runtime.clone(), name.to_owned());
            self.ops.spawn(async move {
                if let Err(error) = runtime.remove_container(&id).await {
                    tracing::warn!(%error, container = id.0, "an old container could not be removed");
                }
                Done::Collected { name, id }
            });
        }
    }
}

fn set_wait(known: &mut ContainerState, failure: StartFailure, image: &str) {
    let now = Timestamp::now();
    let ended = known.exit_code().is_some();
    let (retry_at, later) = match (failure.image, failure.created) {
        (true, _) => {
            known.pull_backoff = known.pull_backoff.next(now);
            let text = format!("Back-off pulling image {image:?}: {}: {}", failure.reason, failure.message);
            let later =
                (failure.reason == "ErrImagePull").then(|| (after(Duration::from_secs(1)), "ImagePullBackOff", text));
            (after(known.pull_backoff.delay()), later)
        }
        // It ended: the back-off of restarts applies.
        (false, true) if ended => (now, None),
        (false, _) => (after(limits::CREATE_RETRY), None),
    };
    known.wait = Some(Wait { reason: failure.reason, message: failure.message, later, retry_at });
}
