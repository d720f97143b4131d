//! Keys in the store: `pods/default/a`, `nodes/a`. A resource's own part holds no slash, so no prefix contains another.

use crate::resources::ResourceType;
use coracle_proto::ObjectKey;
use std::sync::Arc;

pub fn object(kind: &dyn ResourceType, key: &ObjectKey) -> Arc<str> {
    let storage = kind.facts().storage;
    if key.namespace.is_empty() {
        format!("{storage}/{}", key.name).into()
    } else {
        format!("{storage}/{}/{}", key.namespace, key.name).into()
    }
}

/// Everything of a kind, or what of it is in one namespace.
pub fn prefix(kind: &dyn ResourceType, namespace: &str) -> String {
    let storage = kind.facts().storage;
    if namespace.is_empty() { format!("{storage}/") } else { format!("{storage}/{namespace}/") }
}

pub fn namespace(name: &str) -> Arc<str> {
    format!("namespaces/{name}").into()
}

/// Held by the Service that has this cluster IP.
pub fn cluster_ip(ip: &str) -> Arc<str> {
    format!("allocations.clusterip/{ip}").into()
}

/// Held by the Service that has this node port.
pub fn node_port(protocol: &str, port: i64) -> Arc<str> {
    format!("allocations.nodeport/{protocol}/{port}").into()
}
