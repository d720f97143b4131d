//! Registers the node, renews its lease, keeps its status true; registers it again if somebody deletes it.

use super::host::HostFacts;
use super::object::{self, Observed};
use crate::limits;
use crate::link::{CallError, Link, Target, Update, Watch};
use coracle_proto::resource::{LEASES, NODES};
use coracle_proto::{ObjectKey, Tree, meta};
use coracle_runtime::Runtime;
use ipnet::Ipv4Net;
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;

/// What of the configuration shows in the Node object.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    pub name: String,
    pub ip: Ipv4Addr,
    pub pod_cidr: Option<Ipv4Net>,
    pub labels: BTreeMap<String, String>,
    pub max_pods: u32,
}

/// The task that owns the Node object.
pub struct Keeper {
    pub link: Link,
    pub runtime: Arc<dyn Runtime>,
    pub spec: NodeSpec,
    pub host: HostFacts,
    /// Set to true once the node is Ready in the API.
    pub ready: watch::Sender<bool>,
    /// What the API last had.
    pub node: Tree,
    /// The last status sent without its heartbeats, and when.
    pub sent: Option<(Tree, Instant)>,
}

impl Keeper {
    pub fn new(
        link: Link,
        runtime: Arc<dyn Runtime>,
        spec: NodeSpec,
        host: HostFacts,
        ready: watch::Sender<bool>,
    ) -> Self {
        Self { link, runtime, spec, host, ready, node: Tree::Null, sent: None }
    }

    pub async fn run(mut self) {
        self.register_until_done().await;
        let fields = format!("metadata.name={}", self.spec.name);
        let mut watch = Watch::start(self.link.clone(), Target { fields, ..Target::all(NODES) });
        let mut tick = tokio::time::interval(limits::LEASE_INTERVAL.min(limits::NODE_CHECK_INTERVAL));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => self.renew().await,
                update = watch.next() => self.observe(update).await,
            }
        }
    }

    /// Our own writes come back here too; only a deletion asks for something.
    async fn observe(&mut self, update: Update) {
        match update {
            Update::Synced(list) => match list.into_iter().next() {
                Some(object) => self.node = serde_json::from_slice(&object).unwrap_or_default(),
                None => self.register_until_done().await,
            },
            Update::Changed(object) => self.node = serde_json::from_slice(&object).unwrap_or_default(),
            Update::Deleted(_) => {
                tracing::info!(node = self.spec.name, "the node was deleted; registering it again");
                self.register_until_done().await;
            }
        }
    }

    async fn register_until_done(&mut self) {
        let mut wait = limits::NODE_RETRY;
        self.sent = None;
        while let Err(error) = self.register().await {
            tracing::debug!(%error, "the node is not registered yet");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(limits::RECONNECT_MAX);
        }
        tracing::info!(node = self.spec.name, "node registered");
        self.ready.send_replace(true);
    }

    async fn register(&mut self) -> Result<(), CallError> {
        let node = object::node(&self.spec, &self.host);
        let created = self.link.create(&NODES, &ObjectKey::default(), "", &node).await;
        self.node = match created {
            Ok(node) => node,
            Err(e) if e.is_already_exists() => {
                let labels = json!({"metadata": {"labels": object::labels(&self.spec, &self.host)}});
                self.link.patch(&NODES, &self.key(), "", &labels).await?
            }
            Err(e) => return Err(e),
        };
        self.send_status().await?;
        Ok(())
    }

    fn key(&self) -> ObjectKey {
        ObjectKey::cluster(self.spec.name.clone())
    }

    async fn renew(&mut self) {
        if let Err(error) = self.renew_lease().await {
            tracing::debug!(%error, "the node's lease could not be renewed");
        }
        if let Err(error) = self.send_status().await {
            tracing::debug!(%error, "the node's status could not be sent");
        }
    }

    async fn renew_lease(&self) -> Result<(), CallError> {
        let key = ObjectKey::new("kube-node-lease", self.spec.name.clone());
        let lease = object::lease(&self.spec.name, meta::uid(&self.node), Timestamp::now());
        let renewed = self.link.patch(&LEASES, &key, "", &json!({"spec": lease["spec"]})).await;
        match renewed {
            Err(e) if e.is_not_found() => {
                let namespace = ObjectKey::new("kube-node-lease", "");
                self.link.create(&LEASES, &namespace, "", &lease).await.map(drop)
            }
            other => other.map(drop),
        }
    }

    /// Only where something changed, or the last one is old.
    async fn send_status(&mut self) -> Result<(), CallError> {
        let observed = self.look().await;
        let previous = &self.node["status"]["conditions"];
        let status = object::status(&self.spec, &self.host, &observed, previous, Timestamp::now());
        let bare = object::without_heartbeats(&status);
        let fresh =
            self.sent.as_ref().is_some_and(|(sent, at)| *sent == bare && at.elapsed() < limits::NODE_STATUS_INTERVAL);
        if fresh {
            return Ok(());
        }
        self.node = self.link.patch(&NODES, &self.key(), "status", &json!({"status": status})).await?;
        self.sent = Some((bare, Instant::now()));
        Ok(())
    }

    async fn look(&self) -> Observed {
        let images = self.runtime.images().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the images could not be listed");
            Vec::new()
        });
        let runtime_version = self.runtime.info().await.map(|i| i.version).unwrap_or_else(|error| {
            tracing::warn!(%error, "the runtime does not answer");
            "coracle://unknown".into()
        });
        Observed { pressure: self.host.pressure(), images, runtime_version }
    }
}
