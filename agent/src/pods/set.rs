//! All pods of the node: who has a worker, what is adopted, what is an orphan.

use super::context::Context;
use super::sandbox;
use super::worker::{Adopted, Directive, Signals, Worker};
use crate::checkpoint::Kind;
use crate::error::AgentError;
use crate::limits;
use crate::link::{Target, Update, Watch};
use bytes::Bytes;
use coracle_proto::resource::PODS;
use coracle_runtime::ContainerEvent;
use k8s_openapi::api::core::v1::Pod;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::Instrument;

/// The handle others have.
#[derive(Clone)]
pub struct Pods {
    stop: mpsc::Sender<oneshot::Sender<()>>,
    names: watch::Receiver<Names>,
}

/// Namespace and name of what is there, by UID.
type Names = BTreeMap<String, String>;

impl Pods {
    /// Ends all pods. An error names those that had not ended within a bound; what of ended ones could not be removed is
    /// only logged.
    pub async fn stop_all(&self) -> Result<(), AgentError> {
        let (done, stopped) = oneshot::channel();
        let all = async { self.stop.send(done).await.is_ok() && stopped.await.is_ok() };
        let in_time = tokio::time::timeout(limits::STOP_ALL_TIMEOUT, all).await.unwrap_or(false);
        let left: Vec<String> = self.names.borrow().values().cloned().collect();
        if !in_time {
            return Err(AgentError::NotStopped(left));
        }
        if !left.is_empty() {
            tracing::warn!(?left, "pods have ended, but not all that was theirs could be removed");
        }
        Ok(())
    }
}

struct Entry {
    directives: watch::Sender<Directive>,
    signals: Arc<Signals>,
}

/// The task's state.
pub struct PodSet {
    context: Arc<Context>,
    workers: HashMap<String, Entry>,
    running: JoinSet<String>,
    /// What the runtime has and no pod claimed yet.
    adopted: BTreeMap<String, Adopted>,
    stop: mpsc::Receiver<oneshot::Sender<()>>,
    stopping: Option<oneshot::Sender<()>>,
    names: watch::Sender<Names>,
}

impl PodSet {
    pub fn new(context: Arc<Context>) -> (Self, Pods) {
        let (sender, stop) = mpsc::channel(1);
        let (names, reader) = watch::channel(Names::new());
        let set = Self {
            context,
            workers: HashMap::new(),
            running: JoinSet::new(),
            adopted: BTreeMap::new(),
            stop,
            stopping: None,
            names,
        };
        (set, Pods { stop: sender, names: reader })
    }

    /// Finds what an earlier agent left and goes on with it, from the checkpoint alone.
    pub async fn adopt(&mut self) -> Result<(), AgentError> {
        let mut sandboxes = self.context.runtime.sandboxes().await?;
        sandboxes.sort_by_key(|s| s.created_at);
        for sandbox in sandboxes {
            let known = self.adopted.entry(sandbox.pod.uid.clone()).or_default();
            // An agent that was killed between two sandboxes of a pod: the newer one counts.
            if let Some(older) = known.sandbox.replace(sandbox) {
                self.context.runtime.remove_sandbox(&older.id).await?;
            }
        }
        for container in self.context.runtime.containers().await? {
            self.adopted.entry(container.pod.uid.clone()).or_default().containers.push(container);
        }
        for pod in self.context.checkpoint.load(Kind::Pod).iter().filter_map(parse) {
            self.want(pod, false);
        }
        Ok(())
    }

    pub async fn run(mut self) {
        let mut events = self.context.runtime.events();
        // What happened between adoption and the subscription is seen now.
        self.look_at_all().await;
        let fields = format!("spec.nodeName={}", self.context.node_name);
        let mut pods = Watch::start(self.context.link.clone(), Target { fields, ..Target::all(PODS) });
        loop {
            tokio::select! {
                update = pods.next() => self.follow(update).await,
                event = events.recv() => self.signal(event).await,
                Some(done) = self.running.join_next() => self.ended(done),
                Some(done) = self.stop.recv() => self.stop_all(done).await,
            }
            if self.workers.is_empty()
                && let Some(done) = self.stopping.take()
            {
                let _ = done.send(());
            }
        }
    }

    async fn follow(&mut self, update: Update) {
        if self.stopping.is_some() {
            return;
        }
        self.context.checkpoint.follow(Kind::Pod, &update);
        match update {
            Update::Synced(list) => {
                let listed: Vec<Pod> = list.iter().filter_map(parse).collect();
                let uids: BTreeSet<String> = listed.iter().filter_map(|p| p.metadata.uid.clone()).collect();
                listed.into_iter().for_each(|pod| self.want(pod, false));
                for (_, entry) in self.workers.iter().filter(|(uid, _)| !uids.contains(*uid)) {
                    entry.directives.send_modify(|d| d.gone = true);
                }
                self.remove_orphans().await;
            }
            Update::Changed(object) => parse(&object).into_iter().for_each(|pod| self.want(pod, false)),
            Update::Deleted(object) => parse(&object).into_iter().for_each(|pod| self.want(pod, true)),
        }
    }

    fn want(&mut self, pod: Pod, gone: bool) {
        let Some(uid) = pod.metadata.uid.clone() else { return };
        // It names folders and cgroups.
        if uid.is_empty() || !uid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            tracing::warn!(?uid, "a pod with such a UID cannot run here");
            return;
        }
        let pod = Arc::new(pod);
        if let Some(entry) = self.workers.get(&uid) {
            entry.directives.send_modify(|d| (d.pod, d.gone) = (pod, d.gone || gone));
            return;
        }
        if gone && !self.adopted.contains_key(&uid) {
            return;
        }
        tracing::info!(pod = pod.metadata.name, namespace = pod.metadata.namespace, uid, "pod bound to this node");
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let name = format!("{}/{}", text(&pod.metadata.namespace), text(&pod.metadata.name));
        self.names.send_modify(|names| drop(names.insert(uid.clone(), name)));
        let (directives, reader) = watch::channel(Directive { pod, gone, stop: false });
        let signals = Arc::new(Signals::default());
        let adopted = self.adopted.remove(&uid);
        let worker = Worker::new(self.context.clone(), reader, signals.clone(), adopted);
        self.running.spawn(worker.run().instrument(tracing::info_span!("pod", uid)));
        self.workers.insert(uid, Entry { directives, signals });
    }

    fn ended(&mut self, done: Result<String, tokio::task::JoinError>) {
        match done {
            Ok(uid) => {
                self.workers.remove(&uid);
                self.names.send_modify(|names| drop(names.remove(&uid)));
                self.context.checkpoint.remove(Kind::PodStatus, uid.clone());
                self.context.checkpoint.remove(Kind::Pod, uid);
                self.context.objects.prune();
            }
            Err(error) => tracing::error!(%error, "a pod's worker was interrupted"),
        }
    }

    async fn stop_all(&mut self, done: oneshot::Sender<()>) {
        self.stopping = Some(done);
        for entry in self.workers.values() {
            entry.directives.send_modify(|d| d.stop = true);
        }
        // The control plane may never be heard again, so what nobody claimed until now is nobody's.
        self.remove_orphans().await;
        let orphans = self.adopted.iter().filter_map(|(uid, orphan)| Some((uid, &orphan.sandbox.as_ref()?.pod)));
        let orphans: Names =
            orphans.map(|(uid, pod)| (uid.clone(), format!("{}/{}", pod.namespace, pod.name))).collect();
        self.names.send_modify(|names| names.extend(orphans));
    }

    async fn signal(&mut self, event: Result<ContainerEvent, broadcast::error::RecvError>) {
        match event {
            Ok(event) => {
                if let Some(entry) = self.workers.get(&event.pod_uid) {
                    entry.signals.raise(event.container);
                }
            }
            Err(broadcast::error::RecvError::Lagged(_)) => self.look_at_all().await,
            Err(broadcast::error::RecvError::Closed) => {
                // Without events pods are looked at now and then.
                tokio::time::sleep(limits::SETUP_RETRY).await;
                self.look_at_all().await;
            }
        }
    }

    async fn look_at_all(&self) {
        match self.context.runtime.containers().await {
            Ok(containers) => {
                for container in containers {
                    if let Some(entry) = self.workers.get(&container.pod.uid) {
                        entry.signals.raise(container.id);
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "the containers could not be listed"),
        }
    }

    /// What runs here for pods that the API does not know goes; so do their folders and addresses.
    async fn remove_orphans(&mut self) {
        for (uid, orphan) in std::mem::take(&mut self.adopted) {
            tracing::info!(uid, "removing a pod that the control plane does not know");
            if let Some(sandbox) = &orphan.sandbox
                && let Err(error) = self.context.runtime.remove_sandbox(&sandbox.id).await
            {
                tracing::warn!(%error, uid, "an orphan could not be removed");
                self.adopted.insert(uid, orphan);
                continue;
            }
            self.remove_rest(&uid).await;
        }
        let attached = self.context.network.attached().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the pods on the network could not be listed");
            Vec::new()
        });
        let mut left: BTreeSet<String> = attached.into_iter().collect();
        let folders = std::fs::read_dir(&self.context.paths.pods).into_iter().flatten().flatten();
        left.extend(folders.filter_map(|e| e.file_name().into_string().ok()));
        for uid in left.into_iter().filter(|uid| !self.workers.contains_key(uid) && !self.adopted.contains_key(uid)) {
            self.remove_rest(&uid).await;
        }
    }

    async fn remove_rest(&self, uid: &str) {
        if let Err(why) = sandbox::remove_all(&self.context, uid).await {
            tracing::warn!(why, uid, "what is left of a pod could not be removed");
        }
    }
}

fn parse(object: &Bytes) -> Option<Pod> {
    serde_json::from_slice(object).inspect_err(|error| tracing::warn!(%error, "a pod could not be read")).ok()
}
