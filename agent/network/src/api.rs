//! What the agent tells the network and hears from it.

use ipnet::Ipv4Net;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// One node's network, the same for as long as its data directory lives.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Config {
    /// Where addresses given out are remembered.
    pub state_dir: PathBuf,
    /// At most 8 bytes of `[a-z0-9]`, different for every node on the machine: names the bridge and the nf_tables table.
    pub id: String,
    /// This node's addresses for pods; the first is the bridge's.
    pub pod_range: Ipv4Net,
    /// All nodes' pods.
    pub cluster_range: Ipv4Net,
    pub service_range: Ipv4Net,
    /// In `service_range`; answered by the node itself.
    pub dns_address: Ipv4Addr,
    /// e.g. `cluster.local`.
    pub cluster_domain: String,
    /// Where other names are asked for; empty: the host's `/etc/resolv.conf`.
    pub upstream_dns: Vec<IpAddr>,
}

/// A pod to be connected.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PodLink {
    /// The pod's UID.
    pub id: String,
    /// Path of its network namespace.
    pub netns: PathBuf,
    pub host_ports: Vec<HostPort>,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HostPort {
    pub protocol: Protocol,
    /// `None`: every address of the host.
    pub host_ip: Option<Ipv4Addr>,
    pub host_port: u16,
    pub pod_port: u16,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

/// Everything there is to route and resolve, as one value: the network makes the kernel match it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Services(pub Vec<Service>);

#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Service {
    pub namespace: String,
    pub name: String,
    /// Empty for headless and ExternalName services.
    pub cluster_ips: Vec<Ipv4Addr>,
    pub external_ips: Vec<Ipv4Addr>,
    /// The target of an ExternalName service.
    pub external_name: Option<String>,
    pub ports: Vec<ServicePort>,
    /// `ClientIP` affinity, with its timeout in seconds.
    pub affinity_seconds: Option<u32>,
    /// `internalTrafficPolicy: Local`, `externalTrafficPolicy: Local`.
    pub internal_local: bool,
    pub external_local: bool,
    /// DNS gives endpoints that are not ready too.
    pub publish_not_ready: bool,
    /// Of a headless service: what its name, and `<hostname>.<name>`, resolve to.
    pub addresses: Vec<EndpointAddress>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ServicePort {
    pub name: String,
    pub protocol: Protocol,
    pub port: u16,
    pub node_port: Option<u16>,
    /// Ready ones; where none is ready, those that still serve while they terminate.
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Endpoint {
    pub address: Ipv4Addr,
    pub port: u16,
    pub local: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EndpointAddress {
    pub address: Ipv4Addr,
    pub hostname: Option<String>,
    pub ready: bool,
    /// Port name to number, for SRV.
    pub ports: BTreeMap<String, (Protocol, u16)>,
}

/// Why the network could not be as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The host lacks something; `fix` says what to do.
    #[error("{what}; {fix}")]
    Host { what: String, fix: String },
    #[error("no address is free in {0}")]
    RangeExhausted(Ipv4Net),
    #[error("host port {protocol:?} {port} is taken by pod {holder}")]
    HostPortTaken { protocol: Protocol, port: u16, holder: String },
    #[error("{doing}: the kernel answered: {why}")]
    Kernel { doing: String, why: String },
    #[error("{doing}: {why}")]
    Io { doing: String, why: String },
}
