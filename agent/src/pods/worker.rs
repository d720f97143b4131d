//! One pod's worker: it looks, plans, has things done, tells the API; then waits for something to change.

mod adopt;
mod observe;
mod perform;
mod refresh;
mod tell;

use super::context::Context;
use super::ops::{Done, HeldObjects};
use super::plan::{self, Action};
use super::report::Reporter;
use super::state::{Ending, State, Step, Why};
use super::status;
use crate::checkpoint::Kind;
use crate::limits;
use crate::objects::needs;
use crate::probes::{Checks, ProbeReport};
use crate::volumes::Tokens;
pub use adopt::Adopted;
use coracle_runtime::ContainerId;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use refresh::Refresh;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What a worker is to make of its pod.
#[derive(Clone, Debug)]
pub struct Directive {
    pub pod: Arc<Pod>,
    /// The API does not have it any more.
    pub gone: bool,
    /// The node stops.
    pub stop: bool,
}

/// Containers that changed since the worker last looked; repeats collapse.
#[derive(Default)]
pub struct Signals {
    changed: Mutex<BTreeSet<ContainerId>>,
    notify: Notify,
}

impl Signals {
    pub fn raise(&self, id: ContainerId) {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        self.notify.notify_one();
    }

    fn take(&self) -> BTreeSet<ContainerId> {
        std::mem::take(&mut *self.changed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub struct Worker {
    context: Arc<Context>,
    pod: Arc<Pod>,
    uid: String,
    state: State,
    /// The API says that the pod ended before; nothing of it is started again.
    frozen: bool,
    held: HeldObjects,
    tokens: Tokens,
    directives: watch::Receiver<Directive>,
    signals: Arc<Signals>,
    reports: (mpsc::Sender<ProbeReport>, mpsc::Receiver<ProbeReport>),
    checks: BTreeMap<String, Checks>,
    ops: JoinSet<Done>,
    /// Cancelled when the pod ends: what is being started stops.
    cancel: CancellationToken,
    reporter: Reporter,
    /// As last told.
    status: PodStatus,
    /// What this node's services were last told of the pod.
    said_unready: bool,
    /// Of volumes of content.
    refresh: Refresh,
}

impl Worker {
    pub fn new(
        context: Arc<Context>,
        mut directives: watch::Receiver<Directive>,
        signals: Arc<Signals>,
        adopted: Option<Adopted>,
    ) -> Self {
        let pod = directives.borrow_and_update().pod.clone();
        let ids = needs(&pod);
        let held = ids.into_iter().filter_map(|id| context.objects.hold(&id).map(|held| (id, held))).collect();
        // What this agent last knew is newer than what the API was told.
        let kept = context.checkpoint.load_one(Kind::PodStatus, pod.metadata.uid.as_deref().unwrap_or_default());
        let kept = kept.and_then(|json| serde_json::from_slice(&json).ok());
        let status: PodStatus = kept.or_else(|| pod.status.clone()).unwrap_or_default();
        let mut worker = Self {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            reporter: Reporter::start(context.link.clone(), &pod),
            frozen: status::is_final(status.phase.as_deref()),
            context,
            pod,
            state: State::default(),
            held,
            tokens: Tokens::new(),
            directives,
            signals,
            reports: mpsc::channel(limits::POD_SIGNALS),
            checks: BTreeMap::new(),
            ops: JoinSet::new(),
            cancel: CancellationToken::new(),
            status,
            said_unready: false,
            refresh: Refresh::default(),
        };
        worker.adopt(adopted.unwrap_or_default());
        worker
    }

    /// Until nothing of the pod is left.
    pub async fn run(mut self) -> String {
        self.follow_directive();
        while !self.is_over() {
            let now = Timestamp::now();
            self.check_deadline(now);
            let mut plan = plan::plan(&self.pod, &self.state, now);
            if self.frozen && self.state.ending.is_none() {
                plan.actions.retain(|action| *action == Action::Release);
            }
            self.tell(now).await;
            for action in plan.actions {
                self.perform(action, now);
            }
            self.refresh_volumes(now);
            self.keep_checks();
            self.wait(plan.wake_at, now).await;
        }
        self.context.services.set_local(&self.uid, None).await;
        self.context.statuses.remove(&self.uid);
        self.uid
    }

    fn is_over(&self) -> bool {
        match &self.state.ending {
            Some(Ending { why: Why::Deleted, .. }) => self.state.deleted == Step::Done,
            Some(Ending { why: Why::Gone | Why::StopAll, .. }) => self.state.torn_down == Step::Done,
            Some(Ending { why: Why::Deadline, .. }) | None => false,
        }
    }

    async fn wait(&mut self, wake_at: Option<Timestamp>, now: Timestamp) {
        let wake_at = [wake_at, self.refresh_at()].into_iter().flatten().min();
        let sleep = wake_at.map(|at| at.duration_since(now).unsigned_abs().max(Duration::from_millis(1)));
        let timer = async {
            match sleep {
                Some(sleep) => tokio::time::sleep(sleep).await,
                None => std::future::pending().await,
            }
        };
        let objects = any_changed(&mut self.held);
        tokio::select! {
            changed = self.directives.changed() => match changed {
                Ok(()) => self.follow_directive(),
                // The agent stops: what runs goes on running.
                Err(_) => std::future::pending().await,
            },
            Some(done) = self.ops.join_next() => match done {
                Ok(done) => self.finish(done).await,
                Err(error) => tracing::error!(%error, pod = self.uid, "work for a pod was interrupted"),
            },
            () = self.signals.notify.notified() => self.look().await,
            Some(report) = self.reports.1.recv() => self.take_report(report),
            () = objects => self.objects_changed(),
            () = timer => {}
        }
    }

    /// Takes what the API wants now.
    fn follow_directive(&mut self) {
        let directive = self.directives.borrow_and_update().clone();
        self.reporter.observe(&directive.pod);
        if directive.pod.metadata.labels != self.pod.metadata.labels
            || directive.pod.metadata.annotations != self.pod.metadata.annotations
        {
            self.refresh.mark_stale();
        }
        self.pod = directive.pod;
        let why = match (directive.gone, directive.stop, self.pod.metadata.deletion_timestamp.is_some()) {
            (true, ..) => Why::Gone,
            (_, true, _) => Why::StopAll,
            (_, _, true) => Why::Deleted,
            _ => return,
        };
        self.end(why);
    }

    fn end(&mut self, why: Why) {
        let grace = match why {
            Why::StopAll => plan::grace_of(&self.pod).min(limits::STOP_GRACE_MAX),
            _ => self.deletion_grace(),
        };
        self.state.failure = self.state.failure.take().or_else(|| status::failure_of(why));
        match &mut self.state.ending {
            Some(ending) => (ending.why, ending.grace) = (why, ending.grace.min(grace)),
            None => self.state.ending = Some(Ending { why, since: Timestamp::now(), grace }),
        }
    }

    /// At least a second, as upstream: a container is always told before it is killed.
    fn deletion_grace(&self) -> Duration {
        match self.pod.metadata.deletion_grace_period_seconds {
            Some(seconds) => Duration::from_secs(u64::try_from(seconds).unwrap_or(1).max(1)),
            None => plan::grace_of(&self.pod),
        }
    }

    fn check_deadline(&mut self, now: Timestamp) {
        let Some(spec) = &self.pod.spec else { return };
        let over = plan::active_deadline(spec, &self.state).is_some_and(|at| at <= now);
        if over && self.state.ending.is_none() && !self.frozen && !plan::is_finished(spec, &self.state) {
            self.context.normal(
                &self.pod,
                "DeadlineExceeded",
                "Pod was active on the node longer than the specified deadline",
            );
            self.end(Why::Deadline);
        }
    }

    fn objects_changed(&mut self) {
        self.refresh.mark_stale();
        // What could not be configured may be possible now.
        for container in self.state.containers.values_mut() {
            if container.wait.as_ref().is_some_and(|w| w.reason == "CreateContainerConfigError") {
                container.wait = None;
            }
        }
        if matches!(self.state.volumes, super::state::Setup::Failed { .. }) {
            self.state.volumes = super::state::Setup::Absent;
        }
    }
}

async fn any_changed(held: &mut HeldObjects) {
    if held.is_empty() {
        return std::future::pending().await;
    }
    let changes = held.iter_mut().map(|(_, held)| Box::pin(held.changed()));
    futures::future::select_all(changes).await;
}
