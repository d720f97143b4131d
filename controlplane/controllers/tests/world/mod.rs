//! A control plane without nodes: the real registry on a store in memory, the real informers and controllers, a paused
//! clock. Tests play the node.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod faults;

use coracle_apiserver::auth::TokenSigner;
use coracle_apiserver::node_streams::NoNodes;
use coracle_apiserver::{NODE_PORTS, Registry, RegistryConfig, STAMP, UserInfo, bootstrap, catalog};
use coracle_client::{Clock, DeleteOptions, Informers, Patch, ResourceApi};
use coracle_controllers::{Config, Handle};
use coracle_proto::resource::{DEPLOYMENTS, PODS, REPLICA_SETS};
use coracle_proto::{ApiError, ListOptions, ObjectKey, Resource, Tree, meta};
use coracle_store::MemoryStore;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub const NS: &str = "default";

pub struct World {
    pub registry: Arc<Registry>,
    /// As an administrator.
    pub api: Arc<dyn ResourceApi>,
    pub informers: Informers,
    stop: CancellationToken,
    informer_tasks: Option<JoinSet<()>>,
    controllers: Option<Handle>,
}

impl World {
    /// Everything but the controllers.
    pub async fn without_controllers() -> Self {
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
        let api = registry.client(UserInfo::loopback());
        let mut world = Self {
            informers: Informers::new(&registry.client(UserInfo::controller_manager())),
            registry,
            api,
            stop: CancellationToken::new(),
            informer_tasks: None,
            controllers: None,
        };
        world.informer_tasks = Some(world.informers.start(&world.stop));
        world.informers.synced().await;
        world
    }

    pub async fn new() -> Self {
        let mut world = Self::without_controllers().await;
        world.start();
        let account = ObjectKey::new(NS, "default");
        let made = || async { world.get(&coracle_proto::resource::SERVICE_ACCOUNTS, &account).await };
        world.until("the account that pods run as", made).await;
        world
    }

    pub fn start(&mut self) {
        let api = self.registry.client(UserInfo::controller_manager());
        self.start_as(api);
    }

    /// Starts the controllers on an API of the test's own.
    pub fn start_as(&mut self, api: Arc<dyn ResourceApi>) {
        let resources = || catalog::CATALOG.into_iter().map(|kind| kind.facts().resource.clone()).collect();
        let mut config = Config::new("-----BEGIN CERTIFICATE-----".into(), Arc::new(resources));
        config.clock = Clock::starting_at(jiff::Timestamp::now());
        self.controllers = Some(coracle_controllers::start(&|_| api.clone(), &self.informers, config, &self.stop));
    }

    /// As if the process had died and come back: new informers and new controllers on the same store.
    pub async fn restart(&mut self) {
        self.restart_as(self.registry.client(UserInfo::controller_manager())).await;
    }

    /// The same, with controllers on an API of the test's own.
    pub async fn restart_as(&mut self, controllers: Arc<dyn ResourceApi>) {
        self.restart_on(self.registry.client(UserInfo::controller_manager()), controllers).await;
    }

    pub async fn restart_on(&mut self, informers: Arc<dyn ResourceApi>, controllers: Arc<dyn ResourceApi>) {
        self.stop().await;
        self.stop = CancellationToken::new();
        self.informers = Informers::new(&informers);
        self.informer_tasks = Some(self.informers.start(&self.stop));
        self.informers.synced().await;
        self.start_as(controllers);
    }

    pub async fn stop(&mut self) {
        self.stop.cancel();
        if let Some(controllers) = self.controllers.take() {
            controllers.stopped().await;
        }
    }

    pub async fn create(&self, resource: &Resource, body: Tree) -> Tree {
        let key =
            ObjectKey::new(if resource.namespaced { meta::namespace(&body).to_owned() } else { String::new() }, "");
        let object = self.api.create(resource, &key, "", body).await.expect("created");
        object.tree().expect("a tree")
    }

    pub async fn get(&self, resource: &Resource, key: &ObjectKey) -> Option<Tree> {
        match self.api.get(resource, key).await {
            Ok(object) => Some(object.tree().expect("a tree")),
            Err(e) if e.is_not_found() => None,
            Err(e) => panic!("{e}"),
        }
    }

    pub async fn list(&self, resource: &Resource, namespace: &str) -> Vec<Tree> {
        let options = ListOptions { namespace: namespace.into(), ..ListOptions::default() };
        let list = self.api.list(resource, &options).await.expect("listed");
        list.items.iter().map(|object| object.tree().expect("a tree")).collect()
    }

    pub async fn patch(&self, resource: &Resource, key: &ObjectKey, subresource: &str, patch: Tree) -> Tree {
        let object = self.api.patch(resource, key, subresource, Patch::Merge(patch)).await.expect("patched");
        object.tree().expect("a tree")
    }

    pub async fn delete(&self, resource: &Resource, key: &ObjectKey, options: DeleteOptions) {
        self.api.delete(resource, key, &options).await.expect("deleted");
    }

    /// Waits until `test` yields something, with a deadline on the paused clock.
    pub async fn until<T, F>(&self, what: &str, mut test: impl FnMut() -> F) -> T
    where
        F: Future<Output = Option<T>>,
    {
        for _ in 0..3_000 {
            if let Some(found) = test().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("never happened: {what}; pods: {:#?}", self.names(&PODS).await);
    }

    /// Nothing more happens for a while.
    pub async fn settle(&self) {
        let mut quiet = 0;
        let mut last = 0;
        while quiet < 5 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let options = ListOptions { namespace: NS.into(), limit: Some(1), ..ListOptions::default() };
            let now = self.api.list(&PODS, &options).await.expect("listed").revision;
            quiet = if now == last { quiet + 1 } else { 0 };
            last = now;
        }
    }

    pub async fn names(&self, resource: &Resource) -> Vec<String> {
        self.list(resource, NS).await.iter().map(|o| meta::name(o).to_owned()).collect()
    }

    pub async fn pods(&self) -> Vec<Tree> {
        self.list(&PODS, NS).await
    }

    pub async fn sets(&self) -> Vec<Tree> {
        self.list(&REPLICA_SETS, NS).await
    }

    pub async fn deployment(&self, name: &str) -> Tree {
        self.get(&DEPLOYMENTS, &ObjectKey::new(NS, name)).await.expect("the deployment")
    }

    /// Reasons and messages of the events about an object.
    pub async fn events(&self, name: &str) -> Vec<(String, String)> {
        let events = self.list(&coracle_proto::resource::EVENTS, "").await;
        let about = events.iter().filter(|e| e["involvedObject"]["name"] == name);
        let text = |e: &Tree, field: &str| e[field].as_str().unwrap_or_default().to_owned();
        about.map(|e| (text(e, "reason"), text(e, "message"))).collect()
    }

    /// Plays the node: binds, runs and readies what is there; ends what terminates. Returns whether it did anything.
    pub async fn play_node(&self, ready: impl Fn(&Tree) -> bool) -> bool {
        let mut changed = false;
        for pod in self.pods().await {
            let key = ObjectKey::of(&pod);
            if meta::is_deleting(&pod) {
                let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
                match self.api.delete(&PODS, &key, &now).await {
                    Ok(_) => changed = true,
                    Err(e) => assert!(e.is_not_found(), "{e}"),
                }
            } else if pod["status"]["phase"] != "Running" || (ready(&pod) && !is_ready(&pod)) {
                changed |= self.run_pod(&key, ready(&pod)).await.is_ok();
            }
        }
        changed
    }

    pub async fn run_pod(&self, key: &ObjectKey, ready: bool) -> Result<(), ApiError> {
        let status = if ready { "True" } else { "False" };
        let now = coracle_proto::time::render(jiff::Timestamp::now());
        let number = key.name.bytes().fold(7u32, |n, b| n.wrapping_mul(31).wrapping_add(b.into()));
        let ip = format!("10.244.{}.{}", number / 250 % 250, number % 250 + 1);
        let patch = json!({"status": {
            "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": status, "lastTransitionTime": now}],
        }});
        self.api.patch(&PODS, key, "status", Patch::Merge(patch)).await.map(drop)
    }

    /// Plays the node until `done`.
    pub async fn play_until<T, F>(&self, what: &str, mut done: impl FnMut() -> F) -> T
    where
        F: Future<Output = Option<T>>,
    {
        for _ in 0..500 {
            if let Some(found) = done().await {
                return found;
            }
            self.play_node(|_| true).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("never happened: {what}");
    }
}

pub fn is_ready(pod: &Tree) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

pub fn template(image: &str) -> Tree {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}]},
    })
}

pub fn replica_set(name: &str, replicas: i32) -> Tree {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name, "namespace": NS},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template("v1")},
    })
}

pub fn deployment(name: &str, replicas: i32) -> Tree {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": NS},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template("v1")},
    })
}

pub fn condition(object: &Tree, kind: &str) -> Value {
    let list = object["status"]["conditions"].as_array();
    list.into_iter().flatten().find(|c| c["type"] == kind).cloned().unwrap_or_default()
}
