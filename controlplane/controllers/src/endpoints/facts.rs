//! What both kinds of endpoints are made of: a Service's pods, and their ports.

use coracle_client::facts::{ServiceFacts, ServicePort};
use coracle_client::{Informers, PodFacts};
use std::sync::Arc;

/// The label that marks endpoints of a headless Service.
pub(super) const HEADLESS: &str = "service.kubernetes.io/headless";

/// One port as endpoints show it, ordered so that equal sets print equally.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Port {
    pub(super) name: Box<str>,
    pub(super) protocol: Box<str>,
    pub(super) port: u16,
    pub(super) app_protocol: Option<Box<str>>,
}

pub(super) fn selects(service: &ServiceFacts, pod: &PodFacts) -> bool {
    let Some(selector) = &service.selector else { return false };
    selector.iter().all(|(key, value)| pod.meta.label(key) == Some(value))
}

/// Whether the endpoints of this Service are made here at all.
pub(super) fn is_managed(service: &ServiceFacts) -> bool {
    service.selector.is_some() && &*service.kind != "ExternalName" && !service.meta.is_deleting()
}

/// Selected pods with an address that have not ended, in order of name.
pub(super) fn pods(informers: &Informers, service: &ServiceFacts) -> Vec<Arc<PodFacts>> {
    let mut pods = informers.pods.in_namespace(service.meta.namespace());
    pods.retain(|pod| selects(service, pod) && !pod.is_terminal() && !pod.pod_ips.is_empty());
    pods
}

/// The Service's ports on this pod, sorted. A name the pod does not have is left out.
pub(super) fn ports(service: &ServiceFacts, pod: &PodFacts) -> Vec<Port> {
    let port = |wanted: &ServicePort| {
        Some(Port {
            name: wanted.name().into(),
            protocol: wanted.protocol().into(),
            port: target(wanted, pod)?,
            app_protocol: wanted.app_protocol.clone(),
        })
    };
    let mut ports: Vec<Port> = service.ports.iter().filter_map(port).collect();
    ports.sort();
    ports
}

fn target(wanted: &ServicePort, pod: &PodFacts) -> Option<u16> {
    match &wanted.target_port {
        Some(serde_json::Value::String(name)) => {
            let named =
                |p: &&coracle_client::facts::ContainerPort| *p.name == **name && *p.protocol == *wanted.protocol();
            pod.ports.iter().find(named).map(|p| p.port)
        }
        Some(serde_json::Value::Number(n)) if n.as_i64() != Some(0) => n.as_u64()?.try_into().ok(),
        _ => wanted.port.try_into().ok(),
    }
}

/// A pod's DNS name within a headless Service.
pub(super) fn hostname<'a>(service: &ServiceFacts, pod: &'a PodFacts) -> Option<&'a str> {
    (!pod.hostname.is_empty() && *pod.subdomain == *service.meta.name()).then_some(&*pod.hostname)
}

pub(super) fn is_ipv6(address: &str) -> bool {
    address.contains(':')
}
