//! The loop around the cycle: takes in changes, picks the next pod, places it, and writes the binding beside.

use crate::cycle::{self, Outcome};
use crate::limits::{BINDINGS, CYCLES_PER_TURN};
use crate::queue::Queue;
use crate::world::World;
use coracle_client::facts::{NodeFacts, PodFacts};
use coracle_client::{Delta, EventRecorder, Informers, Involved, Patch, ResourceApi};
use coracle_proto::resource::PODS;
use coracle_proto::{ApiError, ObjectKey};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
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

/// Keys that changed since the loop last looked. Bounded by the number of objects.
#[derive(Default)]
struct Inbox {
    changes: Mutex<Changes>,
    arrived: Notify,
}

#[derive(Default)]
struct Changes {
    /// The newest facts by UID: a pod that was deleted and made again is two.
    pods: BTreeMap<Arc<str>, (Arc<PodFacts>, bool)>,
    nodes: BTreeMap<Arc<ObjectKey>, Option<Arc<NodeFacts>>>,
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
        let mut state =
            Loop { scheduler: self, world: World::default(), queue: Queue::default(), bindings: JoinSet::new() };
        tokio::select! {
            () = stop.cancelled() => return,
            // A decision on half a world could overfill a node.
            () = async { tokio::join!(state.scheduler.informers.pods.synced(), state.scheduler.informers.nodes.synced()); } => {}
        }
        while !stop.is_cancelled() {
            state.take_in(inbox.take());
            let more = state.turn();
            state.wait(&inbox, &stop, more).await;
        }
        while state.bindings.join_next().await.is_some() {}
    }
}

impl Inbox {
    fn subscribe(self: &Arc<Self>, informers: &Informers) {
        let inbox = self.clone();
        informers.nodes.subscribe(move |delta| {
            inbox.put(|changes| {
                changes.nodes.insert(delta.key.clone(), delta.new.clone());
            });
        });
        let inbox = self.clone();
        informers.pods.subscribe(move |delta: &Delta<PodFacts>| {
            inbox.put(|changes| {
                // Where one key's pod was replaced by another, both have news.
                for (pod, there) in [(&delta.old, false), (&delta.new, true)] {
                    if let Some(pod) = pod {
                        changes.pods.insert(pod.meta.uid.clone(), (pod.clone(), there));
                    }
                }
            });
        });
    }

    fn put(&self, change: impl FnOnce(&mut Changes)) {
        change(&mut self.changes.lock().unwrap_or_else(PoisonError::into_inner));
        self.arrived.notify_one();
    }

    fn take(&self) -> Changes {
        std::mem::take(&mut self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Loop {
    /// Brings world and queue up to date.
    fn take_in(&mut self, changes: Changes) {
        let mut room = !changes.nodes.is_empty();
        for (key, facts) in changes.nodes {
            match facts {
                Some(facts) => self.world.set_node(facts),
                None => self.world.remove_node(&key.name),
            }
        }
        for (uid, (pod, there)) in changes.pods {
            if !there || pod.is_terminal() {
                room |= self.world.remove_pod(&uid);
                self.queue.remove(&pod.meta.key);
            } else if !pod.node_name.is_empty() {
                self.queue.remove(&pod.meta.key);
                self.world.set_pod(pod);
            } else if !self.world.is_assumed(&uid) {
                self.consider(&pod);
            }
        }
        if room {
            self.queue.wake();
        }
    }

    /// A pod without a node: ours to place, or not.
    fn consider(&mut self, pod: &Arc<PodFacts>) {
        if pod.meta.is_deleting() || *pod.scheduler_name != *NAME {
            self.queue.remove(&pod.meta.key);
        } else if pod.scheduling_gates.is_empty() {
            self.queue.add(ObjectKey::clone(&pod.meta.key), pod.priority);
        } else {
            self.queue.remove(&pod.meta.key);
            let message = "Scheduling is blocked due to non-empty scheduling gates";
            self.tell(pod, "SchedulingGated", message);
        }
    }

    /// Places pods, up to a bound. Returns whether more are ready.
    fn turn(&mut self) -> bool {
        self.queue.promote(Instant::now());
        for _ in 0..CYCLES_PER_TURN {
            if self.bindings.len() >= BINDINGS {
                return false;
            }
            let Some(key) = self.queue.pop() else { return false };
            // The newest state: it may have been placed or deleted since it was queued.
            let pod = self.scheduler.informers.pods.get(&key);
            match pod.filter(|p| p.node_name.is_empty() && p.is_active() && !self.world.is_assumed(&p.meta.uid)) {
                Some(pod) => self.place(pod),
                None => self.queue.remove(&key),
            }
        }
        true
    }

    fn place(&mut self, pod: Arc<PodFacts>) {
        let Outcome { node, explanation } = cycle::schedule(&pod, self.world.nodes(), rand::random());
        tracing::debug!(pod = %pod.meta.key, ?node, ?explanation, "a pod was considered");
        let Some(node) = node else {
            self.queue.failed(&pod.meta.key, Instant::now());
            let message = explanation.message();
            let about = Involved::of(&PODS, &pod.meta);
            self.scheduler.recorder.warning(&about, "FailedScheduling", message.clone());
            self.tell(&pod, "Unschedulable", &message);
            return;
        };
        self.world.assume(pod.clone(), &node);
        let api = self.scheduler.api.clone();
        self.bindings.spawn(async move {
            let result = bind(&*api, &pod, &node).await;
            Bound { pod, node, result }
        });
    }

    /// Writes the condition that says why the pod has no node, if it does not say so already.
    fn tell(&mut self, pod: &Arc<PodFacts>, reason: &'static str, message: &str) {
        if pod.unscheduled_reason.as_deref() == Some(message) {
            return;
        }
        let (api, pod, message) = (self.scheduler.api.clone(), pod.clone(), message.to_owned());
        tokio::spawn(async move {
            if let Err(error) = write_condition(&*api, &pod, reason, &message).await
                && !error.is_not_found()
            {
                tracing::warn!(pod = %pod.meta.key, %error, "the pod's PodScheduled condition could not be written");
            }
        });
    }

    fn finish(&mut self, bound: Bound) {
        let Bound { pod, node, result } = bound;
        let Err(error) = result else {
            self.queue.remove(&pod.meta.key);
            let message = format!("Successfully assigned {} to {node}", pod.meta.key);
            self.scheduler.recorder.normal(&Involved::of(&PODS, &pod.meta), "Scheduled", message);
            return;
        };
        self.world.forget_assumed(&pod.meta.uid);
        if error.is_not_found() {
            self.queue.remove(&pod.meta.key);
            return;
        }
        tracing::warn!(pod = %pod.meta.key, node, %error, "a binding was refused; trying again");
        self.queue.failed(&pod.meta.key, Instant::now());
        self.queue.wake();
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
            () = inbox.arrived.notified() => {}
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

async fn write_condition(api: &dyn ResourceApi, pod: &PodFacts, reason: &str, message: &str) -> Result<(), ApiError> {
    let condition = json!({
        "type": "PodScheduled", "status": "False", "reason": reason, "message": message,
        "lastProbeTime": null,
        "lastTransitionTime": coracle_proto::time::render(jiff::Timestamp::now()),
    });
    let patch = json!({"metadata": {"uid": pod.meta.uid}, "status": {"conditions": [condition]}});
    api.patch(&PODS, &pod.meta.key, "status", Patch::Strategic(patch)).await.map(|_| ())
}
