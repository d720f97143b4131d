//! Follows Services and EndpointSlices and makes the pod network match; takes local pods out at once.

use super::facts::{ServiceFacts, SliceFacts};
use super::local::{Local, LocalState};
use super::plan::plan;
use crate::checkpoint::{Checkpoint, Kind};
use crate::limits;
use crate::link::{Link, Target, Update, Watch};
use bytes::Bytes;
use coracle_network::Network;
use coracle_proto::ObjectKey;
use coracle_proto::resource::{ENDPOINT_SLICES, SERVICES};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// All services as far as pods' environments need them; `None` until they are known.
pub type ServiceTable = Option<Arc<BTreeMap<ObjectKey, ServiceFacts>>>;

enum Command {
    /// `None` forgets the pod.
    SetLocal { uid: String, state: Option<LocalState>, done: Option<oneshot::Sender<()>> },
}

/// The handle that pods use.
#[derive(Clone)]
pub struct Services {
    commands: mpsc::Sender<Command>,
    table: watch::Receiver<ServiceTable>,
}

impl Services {
    /// Returns when no new connection from this node reaches the pod, or after a bound.
    pub async fn withdraw(&self, uid: &str) {
        let (done, answered) = oneshot::channel();
        let command = Command::SetLocal { uid: uid.to_owned(), state: Some(LocalState::Terminating), done: Some(done) };
        let confirmed = async { self.commands.send(command).await.is_ok() && answered.await.is_ok() };
        if !tokio::time::timeout(limits::WITHDRAW_TIMEOUT, confirmed).await.unwrap_or(false) {
            tracing::warn!(uid, "the network did not confirm that a pod is out of its services");
        }
    }

    /// What is known here about a pod before the API knows; `None` leaves it to the API.
    pub async fn set_local(&self, uid: &str, state: Option<LocalState>) {
        let command = Command::SetLocal { uid: uid.to_owned(), state, done: None };
        if self.commands.send(command).await.is_err() {
            tracing::debug!(uid, "the services are not followed any more");
        }
    }

    pub fn table(&self) -> watch::Receiver<ServiceTable> {
        self.table.clone()
    }
}

/// The task's state.
pub struct ServicesTask {
    node: String,
    network: Network,
    checkpoint: Checkpoint,
    services: Arc<BTreeMap<ObjectKey, ServiceFacts>>,
    slices: BTreeMap<ObjectKey, SliceFacts>,
    /// Whether the two are known at all, from the control plane or from the checkpoint.
    known: (bool, bool),
    local: Local,
    commands: mpsc::Receiver<Command>,
    table: watch::Sender<ServiceTable>,
    /// What the kernel has.
    applied: Option<coracle_network::Services>,
}

impl ServicesTask {
    pub fn new(node: String, network: Network, checkpoint: Checkpoint) -> (Self, Services) {
        let (sender, commands) = mpsc::channel(limits::SERVICES_QUEUE);
        let (table, reader) = watch::channel(None);
        let task = Self {
            node,
            network,
            checkpoint,
            services: Arc::default(),
            slices: BTreeMap::new(),
            known: (false, false),
            local: Local::default(),
            commands,
            table,
            applied: None,
        };
        (task, Services { commands: sender, table: reader })
    }

    /// Starts with what an earlier agent was told.
    pub async fn run(mut self, link: Link, services: Vec<Bytes>, slices: Vec<Bytes>) {
        if !services.is_empty() {
            self.take_services(&services);
            self.replace_slices(&slices);
            self.known = (true, true);
            self.publish();
        }
        let mut service_watch = Watch::start(link.clone(), Target::all(SERVICES));
        let mut slice_watch = Watch::start(link, Target::all(ENDPOINT_SLICES));
        let mut apply_at = Some(Instant::now());
        loop {
            let due = async {
                match apply_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(command) = self.commands.recv() => apply_at = self.obey(command, apply_at).await,
                update = service_watch.next() => {
                    self.observe_services(update);
                    apply_at = apply_at.or_else(soon);
                }
                update = slice_watch.next() => {
                    self.observe_slices(update);
                    apply_at = apply_at.or_else(soon);
                }
                () = due => apply_at = self.apply().await,
            }
        }
    }

    async fn obey(&mut self, command: Command, apply_at: Option<Instant>) -> Option<Instant> {
        let Command::SetLocal { uid, state, done } = command;
        let changed = match state {
            Some(state) => self.local.set(uid, state),
            None => self.local.forget(&uid, &self.slices),
        };
        let Some(done) = done else { return if changed { apply_at.or_else(soon) } else { apply_at } };
        let retry = self.apply().await;
        if retry.is_none() && done.send(()).is_err() {
            tracing::debug!("a withdrawal came after its bound");
        }
        retry
    }

    /// When to try again, if it failed.
    async fn apply(&mut self) -> Option<Instant> {
        if self.known != (true, true) {
            return None;
        }
        let planned = plan(&self.node, &self.services, &self.slices, self.local.states());
        if self.applied.as_ref() == Some(&planned) {
            return None;
        }
        match self.network.set_services(planned.clone()).await {
            Ok(()) => {
                self.applied = Some(planned);
                None
            }
            Err(error) => {
                tracing::warn!(%error, "the services could not be applied");
                self.applied = None;
                Some(Instant::now() + limits::SERVICES_RETRY)
            }
        }
    }

    fn publish(&self) {
        self.table.send_replace(Some(self.services.clone()));
    }

    fn observe_services(&mut self, update: Update) {
        self.checkpoint.follow(Kind::Service, &update);
        match update {
            Update::Synced(list) => {
                self.services = Arc::default();
                self.take_services(&list);
                self.known.0 = true;
            }
            Update::Changed(object) => self.take_services(&[object]),
            Update::Deleted(object) => {
                if let Some(facts) = parse_service(&object) {
                    Arc::make_mut(&mut self.services).remove(&facts.key);
                }
            }
        }
        self.publish();
    }

    fn take_services(&mut self, objects: &[Bytes]) {
        let services = Arc::make_mut(&mut self.services);
        services.extend(objects.iter().filter_map(parse_service).map(|facts| (facts.key.clone(), facts)));
    }

    fn observe_slices(&mut self, update: Update) {
        self.checkpoint.follow(Kind::EndpointSlice, &update);
        match update {
            Update::Synced(list) => {
                self.replace_slices(&list);
                self.known.1 = true;
            }
            Update::Changed(object) => self.take_slice(&object),
            Update::Deleted(object) => {
                if let Some(key) = key_of(&object) {
                    self.slices.remove(&key);
                }
            }
        }
        self.local.prune(&self.slices);
    }

    fn replace_slices(&mut self, objects: &[Bytes]) {
        self.slices.clear();
        objects.iter().for_each(|object| self.take_slice(object));
    }

    fn take_slice(&mut self, object: &Bytes) {
        match serde_json::from_slice::<EndpointSlice>(object) {
            Ok(slice) => match SliceFacts::of(&slice) {
                Some(facts) => drop(self.slices.insert(facts.key.clone(), facts)),
                // Its label was taken away.
                None => drop(key_of(object).and_then(|key| self.slices.remove(&key))),
            },
            Err(error) => tracing::warn!(%error, "an endpoint slice could not be read"),
        }
    }
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + limits::SERVICES_DELAY)
}

fn parse_service(object: &Bytes) -> Option<ServiceFacts> {
    match serde_json::from_slice::<Service>(object) {
        Ok(service) => Some(ServiceFacts::of(&service)),
        Err(error) => {
            tracing::warn!(%error, "a service could not be read");
            None
        }
    }
}

fn key_of(object: &Bytes) -> Option<ObjectKey> {
    serde_json::from_slice(object).ok().map(|tree| ObjectKey::of(&tree))
}
