//! A control plane of nothing but the scheduler: the real registry on a store in memory, the real informers, a paused
//! clock. Tests play nodes and users.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod trouble;

use coracle_apiserver::auth::TokenSigner;
use coracle_apiserver::node_streams::NoNodes;
use coracle_apiserver::{NODE_PORTS, Registry, RegistryConfig, STAMP, UserInfo, bootstrap};
use coracle_client::{Clock, DeleteOptions, EventRecorder, Informers, Patch, ResourceApi};
use coracle_proto::resource::{EVENTS, NODES, PODS, SERVICE_ACCOUNTS};
use coracle_proto::{ListOptions, ObjectKey, Resource, Tree};
use coracle_scheduler::{NAME, Scheduler};
use coracle_store::MemoryStore;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

pub const NS: &str = "default";

pub struct World {
    pub registry: Arc<Registry>,
    /// As an administrator.
    pub api: Arc<dyn ResourceApi>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    _end: DropGuard,
}

impl World {
    /// Nothing is scheduled before [`Self::start`].
    pub async fn idle() -> Self {
        let key = TokenSigner::generate_key().expect("a key");
        let config = RegistryConfig {
            service_range: "10.96.0.0/16".parse().expect("valid"),
            node_ports: NODE_PORTS,
            signer: Arc::new(TokenSigner::new(&key, "https://test").expect("a signer")),
            dns_domain: "cluster.local".into(),
            node_streams: Arc::new(NoNodes),
        };
        let registry = Registry::new(Arc::new(MemoryStore::new(STAMP)), config);
        bootstrap(&registry, &["192.0.2.1:6443".parse().expect("valid")]).await.expect("bootstrap");
        let stop = CancellationToken::new();
        let api = registry.client(UserInfo::loopback());
        let world = Self { registry, api, tasks: JoinSet::new(), _end: stop.clone().drop_guard(), stop };
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        world.api.create(&SERVICE_ACCOUNTS, &ObjectKey::new(NS, ""), "", account).await.expect("created");
        world
    }

    pub async fn new() -> Self {
        let mut world = Self::idle().await;
        world.start();
        world
    }

    pub fn start(&mut self) {
        self.start_as(self.registry.client(UserInfo::scheduler()));
    }

    /// Starts the scheduler on an API of the test's own.
    pub fn start_as(&mut self, api: Arc<dyn ResourceApi>) {
        let informers = Informers::new(&self.registry.client(UserInfo::controller_manager()));
        let mut reflectors = informers.start(&self.stop);
        self.tasks.spawn(async move { while reflectors.join_next().await.is_some() {} });
        let recorder = EventRecorder::start(api.clone(), NAME, Clock::starting_at(jiff::Timestamp::now()));
        self.tasks.spawn(Scheduler::new(api, informers, recorder).run(self.stop.clone()));
    }

    /// With 4 CPUs.
    pub async fn add_node(&self, name: &str) {
        self.add_node_with(name, json!({}), json!({})).await;
    }

    pub async fn add_node_with(&self, name: &str, labels: Tree, spec: Tree) {
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": spec,
            "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                       "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"}},
        });
        self.api.create(&NODES, &ObjectKey::cluster(""), "", node).await.expect("a node");
    }

    /// A pod that asks for so many thousandths of a CPU.
    pub async fn add_pod(&self, name: &str, milli_cpu: u64) {
        self.add(pod(name, milli_cpu)).await;
    }

    pub async fn add(&self, pod: Tree) {
        self.api.create(&PODS, &ObjectKey::new(NS, ""), "", pod).await.expect("a pod");
    }

    pub async fn pod(&self, name: &str) -> Tree {
        let object = self.api.get(&PODS, &ObjectKey::new(NS, name)).await.expect("the pod");
        object.tree().expect("a tree")
    }

    pub async fn pods(&self) -> Vec<Tree> {
        self.list(&PODS, NS).await
    }

    pub async fn list(&self, resource: &Resource, namespace: &str) -> Vec<Tree> {
        let options = ListOptions { namespace: namespace.into(), ..ListOptions::default() };
        let list = self.api.list(resource, &options).await.expect("listed");
        list.items.iter().map(|object| object.tree().expect("a tree")).collect()
    }

    pub async fn patch(&self, resource: &Resource, key: &ObjectKey, patch: Tree) {
        self.api.patch(resource, key, "", Patch::Merge(patch)).await.expect("patched");
    }

    pub async fn patch_pod(&self, name: &str, patch: Tree) {
        self.patch(&PODS, &ObjectKey::new(NS, name), patch).await;
    }

    /// At once.
    pub async fn delete_pod(&self, name: &str) {
        let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
        self.api.delete(&PODS, &ObjectKey::new(NS, name), &now).await.expect("deleted");
    }

    /// The node a pod gets.
    pub async fn bound(&self, name: &str) -> String {
        self.until(&format!("{name} is bound"), || async {
            let pod = self.pod(name).await;
            pod["spec"]["nodeName"].as_str().map(str::to_owned)
        })
        .await
    }

    /// Waits until the pod's `PodScheduled` condition says that it has no node. Returns reason and message.
    pub async fn refused(&self, name: &str) -> (String, String) {
        self.until(&format!("{name} is refused"), || async {
            let found = condition(&self.pod(name).await);
            (found["status"] == "False").then(|| (text(&found, "reason"), text(&found, "message")))
        })
        .await
    }

    /// Messages of `FailedScheduling` events about a pod, waiting for the first.
    pub async fn complaints(&self, name: &str) -> Vec<String> {
        self.until(&format!("an event about {name}"), || async {
            let events = self.list(&EVENTS, NS).await;
            let about = events.iter().filter(|e| e["involvedObject"]["name"] == name);
            let failed: Vec<_> =
                about.filter(|e| e["reason"] == "FailedScheduling").map(|e| text(e, "message")).collect();
            (!failed.is_empty()).then_some(failed)
        })
        .await
    }

    /// Waits until `test` yields something. The deadline is shorter than what an unschedulable pod waits without a reason.
    pub async fn until<T, F: Future<Output = Option<T>>>(&self, what: &str, mut test: impl FnMut() -> F) -> T {
        for _ in 0..3_000 {
            if let Some(found) = test().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("never happened: {what}; pods: {:#?}", self.pods().await);
    }
}

pub fn pod(name: &str, milli_cpu: u64) -> Tree {
    let resources = json!({"requests": {"cpu": format!("{milli_cpu}m")}});
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NS, "labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "v1", "resources": resources}]},
    })
}

/// The condition `PodScheduled`.
pub fn condition(pod: &Tree) -> Value {
    let list = pod["status"]["conditions"].as_array();
    list.into_iter().flatten().find(|c| c["type"] == "PodScheduled").cloned().unwrap_or_default()
}

pub fn text(tree: &Tree, field: &str) -> String {
    tree[field].as_str().unwrap_or_default().to_owned()
}
