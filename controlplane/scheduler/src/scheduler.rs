//! The loop around the cycle: takes in changes, picks the next pod, places it, and writes the binding beside.

use crate::cycle::{self, Outcome};
use crate::inbox::{Changes, Inbox};
use crate::limits::{BINDINGS, CYCLES_PER_TURN};
use crate::plugins::minds_company;
use crate::queue::Queue;
use crate::reports::{Reports, finished};
use crate::world::{Effect, World};
use coracle_client::facts::PodFacts;
use coracle_client::{EventRecorder, Informers, Involved, ResourceApi};
use coracle_proto::ApiError;
use coracle_proto::resource::PODS;
use serde_json::json;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Pods name it in `spec.schedulerName`, and get it by default.
pub const NAME: &str = "default-scheduler";

pub struct Scheduler {
    api: Arc<dyn ResourceApi>,
    informers: Informers,
    recorder: EventRecorder,
}

/// A binding that was written, or refused.
struct Bound {
    pod: Arc<PodFacts>,
    node: String,
    result: Result<(), ApiError>,
}

/// The loop's own state.
struct Loop {
    scheduler: Scheduler,
    world: World,
    queue: Queue,
    reports: Reports,
    bindings: JoinSet<Bound>,
}

impl Scheduler {
    /// `api` is the scheduler's own identity; the informers must be started.
    pub fn new(api: Arc<dyn ResourceApi>, informers: Informers, recorder: EventRecorder) -> Self {
        Self { api, informers, recorder }
    }

    /// Schedules until `stop`; bindings under way are finished.
    pub async fn run(self, stop: CancellationToken) {
        let inbox = Arc::new(Inbox::default());
        inbox.subscribe(&self.informers);
        tokio::select! {
            () = stop.cancelled() => return,
            // A decision on half a world could overfill a node.
            () = synced(&self.informers) => {}
        }
        let mut state = Loop {
            reports: Reports::new(self.api.clone()),
            scheduler: self,
            world: World::default(),
            queue: Queue::default(),
            bindings: JoinSet::new(),
        };
        while !stop.is_cancelled() {
            state.take_in(inbox.take());
            let more = state.turn();
            state.wait(&inbox, &stop, more).await;
        }
        while state.bindings.join_next().await.is_some() {}
        state.reports.finish().await;
    }
}

async fn synced(informers: &Informers) {
    tokio::join!(informers.pods.synced(), informers.nodes.synced(), informers.namespaces.synced());
}

impl Loop {
    /// Brings world and queue up to date.
    fn take_in(&mut self, changes: Changes) {
        let mut effect = Effect::Nothing;
        for (key, labels) in changes.namespaces {
            effect = effect.max(self.world.set_namespace(&key.name, labels));
        }
        for (key, facts) in changes.nodes {
            effect = effect.max(match facts {
                Some(facts) => self.world.set_node(facts),
                None => self.world.remove_node(&key.name),
            });
        }
        for (uid, (pod, there)) in changes.pods {
            if !there || pod.is_terminal() {
                self.leave(&uid);
                effect = effect.max(self.world.remove_pod(&uid));
            } else if !pod.node_name.is_empty() {
                self.leave(&uid);
                effect = effect.max(self.world.set_pod(pod));
            } else if !self.world.is_assumed(&uid) {
                self.consider(pod);
            }
        }
        match effect {
            Effect::Nothing => {}
            Effect::Company => self.queue.wake(minds_company),
            Effect::Room => self.queue.wake(|_| true),
        }
    }

    /// A pod without a node: ours to place, or not.
    fn consider(&mut self, pod: Arc<PodFacts>) {
        if pod.meta.is_deleting() || *pod.scheduler_name != *NAME {
            self.leave(&pod.meta.uid);
        } else if pod.scheduling_gates.is_empty() {
            self.queue.add(pod);
        } else {
            self.queue.remove(&pod.meta.uid);
            self.reports.tell(&pod, "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates");
        }
    }

    /// The pod needs nothing more from here.
    fn leave(&mut self, uid: &str) {
        self.queue.remove(uid);
        self.reports.forget(uid);
    }

    /// Places pods, up to a bound. Returns whether more are ready.
    fn turn(&mut self) -> bool {
        self.queue.promote(Instant::now());
        for _ in 0..CYCLES_PER_TURN {
            if self.bindings.len() >= BINDINGS {
                return false;
            }
            let Some(queued) = self.queue.pop() else { return false };
            match self.newest(&queued) {
                Some(pod) => self.place(pod),
                None => self.leave(&queued.meta.uid),
            }
        }
        true
    }

    /// The pod as it is now, if it still waits: it may have been placed or deleted since it was queued, and another may
    /// have its name.
    fn newest(&self, queued: &PodFacts) -> Option<Arc<PodFacts>> {
        let pod = self.scheduler.informers.pods.get(&queued.meta.key)?;
        let waits = pod.meta.uid == queued.meta.uid
            && pod.node_name.is_empty()
            && pod.is_active()
            && !self.world.is_assumed(&pod.meta.uid);
        waits.then_some(pod)
    }

    fn place(&mut self, pod: Arc<PodFacts>) {
        let Outcome { node, explanation } = cycle::schedule(&pod, &self.world.snapshot(), rand::random());
        tracing::debug!(pod = %pod.meta.key, ?node, ?explanation, "a pod was considered");
        let Some(node) = node else {
            self.queue.failed(&pod.meta.uid, Instant::now());
            let message = explanation.message();
            self.warn(&pod, message.clone());
            self.reports.tell(&pod, "Unschedulable", &message);
            return;
        };
        self.world.assume(pod.clone(), &node);
        let api = self.scheduler.api.clone();
        let report = self.reports.last(&pod.meta.uid);
        self.bindings.spawn(async move {
            finished(report).await;
            let result = bind(&*api, &pod, &node).await;
            Bound { pod, node, result }
        });
    }

    fn finish(&mut self, bound: Bound) {
        let Bound { pod, node, result } = bound;
        let Err(error) = result else {
            self.leave(&pod.meta.uid);
            let message = format!("Successfully assigned {} to {node}", pod.meta.key);
            self.scheduler.recorder.normal(&Involved::of(&PODS, &pod.meta), "Scheduled", message);
            return;
        };
        self.world.forget_assumed(&pod.meta.uid);
        if error.is_not_found() {
            self.leave(&pod.meta.uid);
        } else {
            tracing::warn!(pod = %pod.meta.key, node, %error, "a binding was refused; trying again");
            self.warn(&pod, format!("running Bind plugin \"DefaultBinder\": {error}"));
            self.queue.failed(&pod.meta.uid, Instant::now());
        }
        // The room it was to take is free again, and the pod itself need not wait for a change.
        self.queue.wake(|_| true);
    }

    fn warn(&self, pod: &PodFacts, message: String) {
        self.scheduler.recorder.warning(&Involved::of(&PODS, &pod.meta), "FailedScheduling", message);
    }

    async fn wait(&mut self, inbox: &Inbox, stop: &CancellationToken, more: bool) {
        if more {
            // What arrived meanwhile is taken in before the next turn; others may run too.
            while let Some(Ok(bound)) = self.bindings.try_join_next() {
                self.finish(bound);
            }
            return tokio::task::yield_now().await;
        }
        let full = self.bindings.len() >= BINDINGS;
        let due = self.queue.next_due().filter(|_| !full);
        tokio::select! {
            () = stop.cancelled() => {}
            () = inbox.arrived() => {}
            Some(bound) = self.bindings.join_next() => self.finish(bound.expect("a binding's task does not panic")),
            () = async { sleep_until(due.expect("checked by the branch")).await }, if due.is_some() => {}
        }
    }
}

async fn bind(api: &dyn ResourceApi, pod: &PodFacts, node: &str) -> Result<(), ApiError> {
    let key = &pod.meta.key;
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": key.name, "namespace": key.namespace, "uid": pod.meta.uid},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    api.create(&PODS, key, "binding", binding).await.map(|_| ())
}
