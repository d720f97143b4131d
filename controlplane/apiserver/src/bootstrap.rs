//! What exists in every cluster from its first second: the system namespaces and the Service `kubernetes`.

use crate::registry::Registry;
use crate::user::UserInfo;
use coracle_client::ResourceApi;
use coracle_proto::resource::{ENDPOINT_SLICES, ENDPOINTS, NAMESPACES, SERVICES};
use coracle_proto::{ApiError, ObjectKey, Resource, Tree};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;

const NAMES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
const PORT: u16 = 443;

/// Makes what is missing and brings the endpoints of the Service `kubernetes` up to date; harmless to repeat.
pub async fn bootstrap(registry: &Arc<Registry>, advertise: &[SocketAddr]) -> Result<(), ApiError> {
    let api = registry.client(UserInfo::loopback());
    for name in NAMES {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        ensure(&*api, &NAMESPACES, &ObjectKey::cluster(name), namespace).await?;
    }
    let ip = registry.config().service_range.hosts().next();
    let ip = ip.ok_or_else(|| ApiError::internal("the service range holds no address"))?;
    let key = ObjectKey::new("default", "kubernetes");
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {
            "type": "ClusterIP", "clusterIP": ip.to_string(), "clusterIPs": [ip.to_string()], "sessionAffinity": "None",
            "ports": [{"name": "https", "port": PORT, "protocol": "TCP", "targetPort": advertise.first().map_or(PORT, SocketAddr::port)}],
        },
    });
    ensure(&*api, &SERVICES, &key, service).await?;
    publish(&*api, &key, advertise).await
}

async fn ensure(api: &dyn ResourceApi, resource: &Resource, key: &ObjectKey, object: Tree) -> Result<(), ApiError> {
    match api.get(resource, key).await {
        Err(error) if error.is_not_found() => {}
        found => return found.map(|_| ()),
    }
    match api.create(resource, &ObjectKey::new(key.namespace.as_str(), ""), "", object).await {
        // Another server was quicker.
        Err(error) if !error.is_already_exists() => Err(error),
        _ => Ok(()),
    }
}

/// Where the API is reached, for the Service without a selector.
async fn publish(api: &dyn ResourceApi, key: &ObjectKey, advertise: &[SocketAddr]) -> Result<(), ApiError> {
    // Endpoints cannot be loopback addresses: no pod could reach the API there.
    let advertise: Vec<&SocketAddr> = advertise.iter().filter(|a| !a.ip().is_loopback()).collect();
    let Some(port) = advertise.first().map(|a| a.port()) else { return Ok(()) };
    let ips: Vec<String> = advertise.iter().map(|a| a.ip().to_string()).collect();
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {
            "name": key.name, "namespace": key.namespace,
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{
            "addresses": ips.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>(),
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }],
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": key.name, "namespace": key.namespace, "labels": {"kubernetes.io/service-name": key.name},
        },
        "addressType": "IPv4",
        "endpoints": ips.iter().map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}})).collect::<Vec<_>>(),
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    });
    put(api, &ENDPOINTS, key, endpoints).await?;
    put(api, &ENDPOINT_SLICES, key, slice).await
}

async fn put(api: &dyn ResourceApi, resource: &Resource, key: &ObjectKey, object: Tree) -> Result<(), ApiError> {
    match api.update(resource, key, "", object.clone()).await {
        Err(error) if error.is_not_found() => ensure(api, resource, key, object).await,
        other => other.map(drop),
    }
}
