//! A namespace that stands for a host, with a running network in it.

use crate::namespace::Namespace;
use coracle_network::{Config, Endpoint, Network, PodLink, Protocol, Service, ServicePort, Services};
use nix::sched::{CloneFlags, unshare};
use std::net::Ipv4Addr;
use std::path::Path;

/// The host's address towards the world, and the world's.
pub const HOST: &str = "192.0.2.1";
pub const WORLD: &str = "192.0.2.9";

/// Runs a test on a host of its own: a thread in a new namespace, with a runtime that never leaves it.
pub fn on_host<F: Future<Output = ()>>(test: impl FnOnce(Host) -> F + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "these tests need root");
        println!("skipped: needs root");
        return;
    }
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a new namespace");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let directory = tempfile::tempdir().expect("a directory");
        let host = Host { namespace: Namespace::current(), directory };
        host.namespace.ip("link set lo up");
        runtime.block_on(test(host));
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

pub struct Host {
    pub namespace: Namespace,
    directory: tempfile::TempDir,
}

/// A pod with its namespace and address.
pub struct Pod {
    pub namespace: Namespace,
    pub address: Ipv4Addr,
    pub link: PodLink,
}

impl Host {
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn config(&self) -> Config {
        Config {
            state_dir: self.directory.path().join("network"),
            id: "test".into(),
            pod_range: "10.42.0.0/24".parse().expect("a range"),
            cluster_range: "10.42.0.0/16".parse().expect("a range"),
            service_range: "10.43.0.0/16".parse().expect("a range"),
            dns_address: Ipv4Addr::new(10, 43, 0, 10),
            cluster_domain: "cluster.local".into(),
            upstream_dns: Vec::new(),
        }
    }

    pub async fn start(&self) -> Network {
        Network::start(self.config()).await.expect("a network")
    }

    /// A namespace beyond the host's own link, that knows nothing of pods.
    pub fn world(&self) -> Namespace {
        let world = Namespace::new();
        self.namespace.ip("link add eth0 type veth peer name world0");
        self.namespace.ip(&format!("link set world0 netns {}", world.path().display()));
        self.namespace.ip(&format!("address add {HOST}/24 dev eth0"));
        self.namespace.ip("link set eth0 up");
        world.ip(&format!("address add {WORLD}/24 dev world0"));
        world.ip("link set world0 up");
        world.ip("link set lo up");
        world
    }
}

/// Connects a new pod.
pub async fn pod(network: &Network, id: &str) -> Pod {
    let namespace = Namespace::new();
    let link = PodLink { id: id.into(), netns: namespace.path(), host_ports: Vec::new() };
    let address = network.attach(&link).await.expect("an address");
    Pod { namespace, address, link }
}

/// A service of one TCP port 80, of pods' port 8080.
pub fn service(name: &str, cluster_ip: [u8; 4], endpoints: &[Ipv4Addr]) -> Service {
    Service {
        namespace: "default".into(),
        name: name.into(),
        cluster_ips: vec![cluster_ip.into()],
        ports: vec![ServicePort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
            endpoints: endpoints.iter().map(|address| endpoint(*address)).collect(),
        }],
        ..Service::default()
    }
}

pub fn endpoint(address: Ipv4Addr) -> Endpoint {
    Endpoint { address, port: 8080, local: true }
}

pub async fn set(network: &Network, services: impl IntoIterator<Item = Service>) {
    network.set_services(Services(services.into_iter().collect())).await.expect("the services");
}
