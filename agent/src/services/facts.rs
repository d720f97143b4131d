//! What the node needs of a Service and an EndpointSlice: a few hundred bytes each.

use coracle_network::Protocol;
use coracle_proto::ObjectKey;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use std::net::Ipv4Addr;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceFacts {
    pub key: ObjectKey,
    pub cluster_ips: Vec<Ipv4Addr>,
    /// External and load balancer addresses.
    pub external_ips: Vec<Ipv4Addr>,
    pub external_name: Option<String>,
    pub ports: Vec<PortFacts>,
    pub affinity_seconds: Option<u32>,
    pub internal_local: bool,
    pub external_local: bool,
    pub publish_not_ready: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortFacts {
    pub name: String,
    pub protocol: Protocol,
    pub port: u16,
    pub node_port: Option<u16>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SliceFacts {
    pub key: ObjectKey,
    pub service: String,
    pub ports: Vec<PortFacts>,
    pub endpoints: Vec<EndpointFacts>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointFacts {
    pub address: Ipv4Addr,
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
    pub node: Option<String>,
    pub hostname: Option<String>,
    pub pod_uid: Option<String>,
}

/// Upstream's default timeout of ClientIP affinity.
const AFFINITY_SECONDS: i32 = 10_800;

impl ServiceFacts {
    pub fn of(service: &core::Service) -> Self {
        let spec = service.spec.clone().unwrap_or_default();
        let status = service.status.clone().unwrap_or_default();
        let ingress = status.load_balancer.unwrap_or_default().ingress.unwrap_or_default();
        let external =
            spec.external_ips.unwrap_or_default().into_iter().chain(ingress.into_iter().filter_map(|i| i.ip));
        let external_name = (spec.type_.as_deref() == Some("ExternalName")).then_some(spec.external_name).flatten();
        let affinity =
            spec.session_affinity_config.and_then(|c| c.client_ip?.timeout_seconds).unwrap_or(AFFINITY_SECONDS);
        let cluster_ips = spec.cluster_ips.unwrap_or_else(|| spec.cluster_ip.into_iter().collect());
        Self {
            key: key(&service.metadata),
            cluster_ips: cluster_ips.iter().filter_map(|ip| ip.parse().ok()).collect(),
            external_ips: external.filter_map(|ip| ip.parse().ok()).collect(),
            external_name,
            ports: spec.ports.unwrap_or_default().iter().filter_map(service_port).collect(),
            affinity_seconds: (spec.session_affinity.as_deref() == Some("ClientIP"))
                .then(|| u32::try_from(affinity).unwrap_or(AFFINITY_SECONDS as u32)),
            internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
            external_local: spec.external_traffic_policy.as_deref() == Some("Local"),
            publish_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
        }
    }

    pub fn is_headless(&self) -> bool {
        self.cluster_ips.is_empty() && self.external_name.is_none()
    }
}

impl SliceFacts {
    /// `None` where it belongs to no service or is not IPv4.
    pub fn of(slice: &discovery::EndpointSlice) -> Option<Self> {
        if slice.address_type != "IPv4" {
            return None;
        }
        let service = slice.metadata.labels.as_ref()?.get("kubernetes.io/service-name")?.clone();
        let ports = slice.ports.iter().flatten().filter_map(slice_port).collect();
        let endpoints = slice.endpoints.iter().flat_map(endpoints).collect();
        Some(Self { key: key(&slice.metadata), service, ports, endpoints })
    }
}

fn key(metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> ObjectKey {
    ObjectKey::new(metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

fn protocol(text: Option<&str>) -> Protocol {
    match text {
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        _ => Protocol::Tcp,
    }
}

/// A port outside 1–65535 is no port; the API would not have let it through.
fn number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|&p| p > 0)
}

fn service_port(port: &core::ServicePort) -> Option<PortFacts> {
    Some(PortFacts {
        name: port.name.clone().unwrap_or_default(),
        protocol: protocol(port.protocol.as_deref()),
        port: number(port.port)?,
        node_port: port.node_port.and_then(number),
    })
}

fn slice_port(port: &discovery::EndpointPort) -> Option<PortFacts> {
    Some(PortFacts {
        name: port.name.clone().unwrap_or_default(),
        protocol: protocol(port.protocol.as_deref()),
        port: port.port.and_then(number)?,
        node_port: None,
    })
}

/// An endpoint's addresses are interchangeable: upstream's proxy uses the first.
fn endpoints(endpoint: &discovery::Endpoint) -> Option<EndpointFacts> {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let ready = conditions.ready.unwrap_or(true);
    let target = endpoint.target_ref.as_ref().filter(|t| t.kind.as_deref() == Some("Pod"));
    Some(EndpointFacts {
        address: endpoint.addresses.first()?.parse().ok()?,
        ready,
        serving: conditions.serving.unwrap_or(ready),
        terminating: conditions.terminating.unwrap_or(false),
        node: endpoint.node_name.clone(),
        hostname: endpoint.hostname.clone(),
        pod_uid: target.and_then(|t| t.uid.clone()),
    })
}
