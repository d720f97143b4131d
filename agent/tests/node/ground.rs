//! What every test stands on: a node of its own with runtime, network and agent.

use crate::certificates;
use crate::control::Control;
use coracle_agent::{Agent, AgentConfig, AgentHandle, CapacityOverrides, ClusterFacts, TlsConfig};
use coracle_network::Network;
use coracle_runtime::images::{ImageStore, builtin};
use coracle_runtime::{Embedded, EmbeddedConfig, Runtime};
use ipnet::Ipv4Net;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::task::AbortOnDropHandle;

/// More than anything here needs, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(40);
const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-shim-for-agent-tests");
pub const IMAGE: &str = "coracle/demo:v1";

/// One node at a time: they would share the host's bridge names and be slow together.
static TURN: Mutex<()> = Mutex::const_new(());

pub struct Ground {
    pub control: Control,
    pub agent: Option<AgentHandle>,
    pub runtime: Arc<dyn Runtime>,
    pub network: Option<Network>,
    pub folder: tempfile::TempDir,
    pub port: u16,
    server: Option<AbortOnDropHandle<()>>,
    tls: TlsConfig,
    server_tls: rustls::ServerConfig,
    cgroup: String,
    id: String,
    _turn: MutexGuard<'static, ()>,
}

/// `None`, said in one line, where pods can't run here; with `CI=true` that is a failure.
pub async fn ground() -> Option<Ground> {
    let why = if !nix::unistd::geteuid().is_root() {
        "root"
    } else if !Path::new("/bin/busybox").exists() {
        "/bin/busybox (Debian's busybox-static)"
    } else {
        return Some(Ground::new().await);
    };
    assert!(std::env::var("CI").as_deref() != Ok("true"), "this test needs {why}");
    println!("skipped: this test needs {why}");
    None
}

fn network_config(folder: &Path, id: &str) -> coracle_network::Config {
    let net = |text: String| -> Ipv4Net { text.parse().expect("a range") };
    let block = std::process::id() % 100 + 100;
    coracle_network::Config {
        state_dir: folder.join("network"),
        id: id.to_owned(),
        pod_range: net(format!("10.{block}.77.0/24")),
        cluster_range: net(format!("10.{block}.0.0/16")),
        service_range: net(format!("172.{}.0.0/20", 16 + block % 14)),
        dns_address: format!("172.{}.0.10", 16 + block % 14).parse().expect("an address"),
        cluster_domain: "cluster.local".into(),
        upstream_dns: vec![],
    }
}

impl Ground {
    async fn new() -> Self {
        let turn = TURN.lock().await;
        if std::env::var("CORACLE_TEST_LOG").is_ok() {
            let _ = tracing_subscriber::fmt()
                .with_env_filter("debug,h2=info,hyper=info,tower=info")
                .with_test_writer()
                .try_init();
        }
        let folder = tempfile::tempdir().expect("a folder");
        let id = format!("t{:06x}", rand::random::<u32>() & 0xff_ffff);
        let (tls, server_tls) = certificates::make();
        let control = Control::new();
        let services = json!({"metadata": {"name": "kubernetes", "namespace": "default"},
            "spec": {"clusterIP": "172.31.0.1", "clusterIPs": ["172.31.0.1"], "ports": [{"name": "https", "port": 443}]}});
        control.put("services", services);
        let (port, server) = control.serve(0, server_tls.clone()).await;
        let cgroup = format!("coracle-{id}");
        let runtime = open_runtime(folder.path(), &cgroup);
        let network = Network::start(network_config(folder.path(), &id)).await.expect("a network");
        let mut ground = Self {
            control,
            agent: None,
            runtime,
            network: Some(network),
            folder,
            port,
            server: Some(server),
            tls,
            server_tls,
            cgroup,
            id,
            _turn: turn,
        };
        ground.start_agent().await;
        ground
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("node")
    }

    pub async fn start_agent(&mut self) {
        let network = self.network.clone().expect("a network");
        let config = AgentConfig {
            node_name: "n1".into(),
            data_dir: self.data(),
            server: format!("127.0.0.1:{}", self.port),
            tls: self.tls.clone(),
            runtime: self.runtime.clone(),
            node_ip: network.gateway(),
            network,
            cluster: ClusterFacts {
                dns_address: Ipv4Addr::new(172, 31, 0, 10),
                cluster_domain: "cluster.local".into(),
            },
            pod_cidr: None,
            cgroup: self.cgroup.clone(),
            labels: [("zone".to_owned(), "here".to_owned())].into(),
            capacity: CapacityOverrides::default(),
            max_pods: 110,
        };
        self.agent = Some(Agent::start(config).await.expect("an agent"));
    }

    /// As a process that ends: runtime and network are opened anew by the next agent.
    pub async fn stop_agent(&mut self) {
        self.agent.take().expect("an agent").shutdown().await;
        self.network = None;
        self.runtime = open_runtime(self.folder.path(), &self.cgroup);
        self.network = Some(Network::start(network_config(self.folder.path(), &self.id)).await.expect("a network"));
    }

    /// An address of the service range.
    pub fn service_ip(&self, last: u8) -> Ipv4Addr {
        let config = network_config(self.folder.path(), &self.id);
        let [a, b, ..] = config.service_range.network().octets();
        Ipv4Addr::new(a, b, 0, last)
    }

    pub fn stop_server(&mut self) {
        self.server = None;
    }

    pub async fn start_server(&mut self) {
        let (_, server) = self.control.serve(self.port, self.server_tls.clone()).await;
        self.server = Some(server);
    }

    /// A pod of these containers, bound to the node. Each has busybox at `/bin/busybox`; `sh` is its script.
    pub fn run(&self, name: &str, spec: Value) -> Value {
        let mut spec = spec;
        spec["nodeName"] = json!("n1");
        for list in ["initContainers", "containers"] {
            for container in spec[list].as_array_mut().into_iter().flatten() {
                prepare(container);
            }
        }
        add(&mut spec["volumes"], json!({"name": "busybox", "hostPath": {"path": "/bin/busybox"}}));
        self.control.put("pods", json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec}))
    }

    pub async fn pod(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.control.until("pods", "default", name, wanted).await
    }

    pub async fn gone(&self, name: &str) {
        self.pod(name, Value::is_null).await;
    }

    /// Waits for an event of that reason whose message begins so; events come after what they tell of.
    pub async fn told(&self, reason: &str, message: &str) {
        let is = |e: &Value| e["reason"] == reason && e["message"].as_str().is_some_and(|m| m.starts_with(message));
        let told = async {
            while !self.control.list("events").iter().any(is) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, told).await.is_err() {
            panic!("no event {reason} {message:?}: {:#?}", self.control.list("events"));
        }
    }

    /// Takes everything down and checks that nothing is left.
    pub async fn finish(mut self) {
        let agent = self.agent.take().expect("an agent");
        agent.stop_all().await.expect("all pods stop");
        assert!(self.runtime.sandboxes().await.expect("a list").is_empty());
        let pods = std::fs::read_dir(self.data().join("pods")).expect("reads").count();
        assert_eq!(pods, 0, "folders of pods are left");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("reads");
        let pods = self.data().join("pods");
        assert!(!mounts.contains(pods.to_str().expect("text")), "mounts are left");
        self.network.take().expect("a network").teardown().await.expect("the network goes");
        let _ = coracle_runtime::remove_pod_cgroup(&self.cgroup);
    }
}

fn open_runtime(folder: &Path, cgroup: &str) -> Arc<dyn Runtime> {
    let images = Arc::new(ImageStore::open(&folder.join("images")).expect("an image store"));
    builtin::ensure(&images, Path::new(PROGRAM)).expect("the built-in images");
    let config = EmbeddedConfig {
        dir: folder.join("runtime"),
        shim_command: vec![PROGRAM.into(), "shim".into()],
        cgroup_root: cgroup.to_owned(),
        images,
    };
    Arc::new(Embedded::open(config).expect("the runtime opens"))
}

fn add(list: &mut Value, item: Value) {
    if !list.is_array() {
        *list = json!([]);
    }
    list.as_array_mut().expect("made one").push(item);
}

fn prepare(container: &mut Value) {
    if container["image"].is_null() {
        container["image"] = json!(IMAGE);
    }
    if let Some(script) = container["sh"].as_str().map(str::to_owned) {
        container["command"] = json!(["/bin/busybox", "sh", "-c", script]);
        container.as_object_mut().expect("an object").remove("sh");
    }
    add(&mut container["volumeMounts"], json!({"name": "busybox", "mountPath": "/bin/busybox", "readOnly": true}));
}

impl Drop for Ground {
    fn drop(&mut self) {
        // Whatever a failed test left; a passed one left nothing.
        if self.network.is_none() {
            return;
        }
        let runtime = self.runtime.clone();
        let (id, cgroup) = (self.id.clone(), self.cgroup.clone());
        let cleaned = std::thread::spawn(move || {
            let tokio = tokio::runtime::Runtime::new().expect("a runtime");
            tokio.block_on(async {
                for sandbox in runtime.sandboxes().await.unwrap_or_default() {
                    let _ = runtime.remove_sandbox(&sandbox.id).await;
                }
                let _ = coracle_network::teardown_leftovers(&id).await;
            });
            let _ = coracle_runtime::remove_pod_cgroup(&cgroup);
        });
        let _ = cleaned.join();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let below = mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|at| Path::new(at).starts_with(self.folder.path()));
        for point in below.collect::<Vec<_>>().into_iter().rev() {
            let _ = nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}
