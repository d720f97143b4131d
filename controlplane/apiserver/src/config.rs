//! What the caller decides about a registry.

use crate::auth::TokenSigner;
use crate::node_streams::NodeStreams;
use ipnet::Ipv4Net;
use std::ops::RangeInclusive;
use std::sync::Arc;

pub struct RegistryConfig {
    /// Where cluster IPs come from. The first address is the Service `kubernetes`.
    pub service_range: Ipv4Net,
    pub node_ports: RangeInclusive<u16>,
    /// Signs and checks service account tokens.
    pub signer: Arc<TokenSigner>,
    /// e.g. `cluster.local`.
    pub dns_domain: String,
    /// How logs, exec, attach and port-forward reach a node.
    pub node_streams: Arc<dyn NodeStreams>,
}

/// Upstream's default range.
pub const NODE_PORTS: RangeInclusive<u16> = 30000..=32767;
