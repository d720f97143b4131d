//! This host as a node: its network, its runtime and its agent, put together the same way for every command.

use anyhow::{Context, Result, bail};
use coracle_agent::{Agent, AgentConfig, AgentHandle, CapacityOverrides, ClusterFacts, TlsConfig};
use coracle_controlplane::cluster::Cluster;
use coracle_controlplane::files;
use coracle_controlplane::pki::Credentials;
use coracle_network::Network;
use coracle_runtime::images::{ImageStore, builtin};
use coracle_runtime::{Docker, DockerConfig, Embedded, EmbeddedConfig, Runtime};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Upstream's default.
const MAX_PODS: u32 = 110;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RuntimeChoice {
    /// The embedded one.
    Auto,
    /// Containers made by coracle itself.
    Embedded,
    /// The Docker engine at DOCKER_HOST or /var/run/docker.sock.
    Docker,
}

/// What an agent is started on.
pub struct Node {
    pub name: String,
    pub data_dir: PathBuf,
    pub runtime: Arc<dyn Runtime>,
    pub network: Network,
}

/// Where images lie: the agent and `coracle image` share it.
pub fn images_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("node/images")
}

/// The first component of the node's cgroups, bridge and packet rules.
pub fn cgroup(cluster: &Cluster) -> String {
    format!("coracle-{}", cluster.id)
}

pub async fn network(data_dir: &Path, cluster: &Cluster) -> Result<Network> {
    let config = coracle_network::Config {
        state_dir: data_dir.join("node/network"),
        id: cluster.id.clone(),
        pod_range: cluster.first_node_range(),
        cluster_range: cluster.pod_range,
        service_range: cluster.service_range,
        dns_address: cluster.dns_address(),
        cluster_domain: cluster.domain.clone(),
        upstream_dns: Vec::new(),
    };
    Ok(Network::start(config).await?)
}

/// Opens the runtime with the built-in images in it. A node keeps the runtime it was first started with.
pub async fn runtime(choice: RuntimeChoice, data_dir: PathBuf, cluster: Cluster) -> Result<Arc<dyn Runtime>> {
    let program = std::env::current_exe()?;
    match settle(choice, &data_dir)? {
        Settled::Embedded => {
            let images = Arc::new(ImageStore::open(&images_dir(&data_dir))?);
            let (store, exe) = (images.clone(), program.clone());
            tokio::task::spawn_blocking(move || builtin::ensure(&store, &exe)).await??;
            let config = EmbeddedConfig {
                dir: data_dir.join("node/containers"),
                shim_command: vec![program.into(), "shim".into()],
                cgroup_root: cgroup(&cluster),
                images,
            };
            Ok(Arc::new(Embedded::open(config)?))
        }
        Settled::Docker => Ok(Arc::new(docker(&data_dir).await?)),
    }
}

async fn docker(data_dir: &Path) -> Result<Docker> {
    let program = std::env::current_exe()?;
    Ok(Docker::connect(&DockerConfig { socket: docker_socket()?, data_dir: data_dir.join("node"), program }).await?)
}

/// The Docker engine, if the node of this data runs its containers there.
pub async fn docker_in_use(data_dir: &Path) -> Result<Option<Docker>> {
    match kept(data_dir)? {
        Some(Settled::Docker) => docker(data_dir).await.map(Some),
        Some(Settled::Embedded) | None => Ok(None),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Settled {
    Embedded,
    Docker,
}

/// The runtime of this node: as it was first started, else as chosen now, which is then written down.
fn settle(choice: RuntimeChoice, data_dir: &Path) -> Result<Settled> {
    let chosen = match choice {
        RuntimeChoice::Auto => None,
        RuntimeChoice::Embedded => Some(Settled::Embedded),
        RuntimeChoice::Docker => Some(Settled::Docker),
    };
    let kept = kept(data_dir)?;
    match (kept, chosen) {
        (Some(kept), Some(chosen)) if kept != chosen => {
            bail!(
                "this node's containers run on the {kept:?} runtime; stop them with `coracle down` before you change it"
            )
        }
        (Some(kept), _) => Ok(kept),
        (None, chosen) => {
            let settled = chosen.unwrap_or(Settled::Embedded);
            let path = record(data_dir);
            files::replace(&path, &serde_json::to_vec(&settled)?, 0o600)
                .with_context(|| format!("writing {}", path.display()))?;
            Ok(settled)
        }
    }
}

fn record(data_dir: &Path) -> PathBuf {
    data_dir.join("node/runtime.json")
}

/// As an earlier start settled it.
fn kept(data_dir: &Path) -> Result<Option<Settled>> {
    let path = record(data_dir);
    match std::fs::read(&path) {
        Ok(bytes) => {
            Ok(Some(serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))?))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("reading {}", path.display())),
    }
}

/// A node whose pods are gone may choose another runtime.
pub fn forget_runtime(data_dir: &Path) -> Result<()> {
    match std::fs::remove_file(record(data_dir)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).context("forgetting the node's runtime"),
        _ => Ok(()),
    }
}

fn docker_socket() -> Result<PathBuf> {
    match std::env::var("DOCKER_HOST") {
        Ok(host) => match host.strip_prefix("unix://") {
            Some(path) => Ok(path.into()),
            None => bail!("DOCKER_HOST={host}: containers must run on this host, so only unix:// will do"),
        },
        Err(_) => Ok("/var/run/docker.sock".into()),
    }
}

impl Node {
    pub async fn start(
        self,
        cluster: &Cluster,
        server: SocketAddr,
        authority: &str,
        credentials: Credentials,
    ) -> Result<AgentHandle> {
        let config = AgentConfig {
            node_name: self.name,
            data_dir: self.data_dir.join("node"),
            server: server.to_string(),
            tls: TlsConfig { ca: authority.into(), certificate: credentials.certificate, key: credentials.key },
            runtime: self.runtime,
            node_ip: self.network.gateway(),
            network: self.network,
            cluster: ClusterFacts { dns_address: cluster.dns_address(), cluster_domain: cluster.domain.clone() },
            pod_cidr: Some(cluster.first_node_range()),
            cgroup: cgroup(cluster),
            labels: BTreeMap::new(),
            capacity: CapacityOverrides::default(),
            max_pods: MAX_PODS,
        };
        Ok(Agent::start(config).await?)
    }
}
