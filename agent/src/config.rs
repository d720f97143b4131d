//! What the agent is told at its start.

use coracle_network::Network;
use coracle_runtime::Runtime;
use ipnet::Ipv4Net;
use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

/// Everything the agent needs from whoever starts it; the rest comes over the link.
pub struct AgentConfig {
    pub node_name: String,
    /// The node's own directory, e.g. `/var/lib/coracle/node`; made if it is missing.
    pub data_dir: PathBuf,
    /// `HOST:PORT` of the control plane.
    pub server: String,
    pub tls: TlsConfig,
    pub runtime: Arc<dyn Runtime>,
    pub network: Network,
    pub cluster: ClusterFacts,
    /// The node's `InternalIP`, and the `hostIP` of its pods.
    pub node_ip: Ipv4Addr,
    /// Put into `spec.podCIDR` at registration; `None` leaves it to the control plane.
    pub pod_cidr: Option<Ipv4Net>,
    /// The node's own cgroup in each hierarchy, e.g. `coracle-1a2b`; all pods live below it.
    pub cgroup: String,
    /// Added to the well-known ones.
    pub labels: BTreeMap<String, String>,
    pub capacity: CapacityOverrides,
    /// Upstream's default is 110.
    pub max_pods: u32,
}

/// What pods are told about the cluster.
#[derive(Clone, Debug)]
pub struct ClusterFacts {
    pub dns_address: Ipv4Addr,
    /// e.g. `cluster.local`.
    pub cluster_domain: String,
}

/// PEM texts. `Debug` shows none of them.
#[derive(Clone)]
pub struct TlsConfig {
    pub ca: String,
    pub certificate: String,
    pub key: String,
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsConfig")
    }
}

/// `None`: as the host has it.
#[derive(Clone, Debug, Default)]
pub struct CapacityOverrides {
    pub cpu_millis: Option<i64>,
    pub memory_bytes: Option<i64>,
    pub ephemeral_storage_bytes: Option<i64>,
}
