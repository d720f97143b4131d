//! A Service's `core/v1 Endpoints`, in upstream's canonical order. Pure.

use super::facts::{self, HEADLESS, Port};
use crate::limits::ENDPOINTS_CAPACITY;
use crate::meaning;
use coracle_client::PodFacts;
use coracle_client::facts::ServiceFacts;
use coracle_proto::resource::ENDPOINTS;
use coracle_proto::{Tree, meta};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
pub(super) const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";

/// One pod's address; the order is that of the list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Address {
    ip: Box<str>,
    pod: usize,
}

/// Who is ready and who is not, on some ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Addresses {
    ready: BTreeSet<Address>,
    not_ready: BTreeSet<Address>,
}

/// What is to be written, `None` if `existing` is right as it is.
pub(super) fn plan(service: &ServiceFacts, pods: &[Arc<PodFacts>], existing: Option<&Tree>) -> Option<Tree> {
    let (subsets, truncated) = subsets(service, pods);
    let labels = labels(service);
    let mut wanted = existing.cloned().unwrap_or_else(|| {
        json!({
            "apiVersion": ENDPOINTS.api_version(), "kind": ENDPOINTS.kind,
            "metadata": {"name": service.meta.name(), "namespace": service.meta.namespace()},
        })
    });
    meta::metadata_mut(&mut wanted).insert("labels".into(), labels.into());
    let over = meta::annotation(&wanted, OVER_CAPACITY).is_some();
    if truncated != over {
        let annotations = meta::entry_object(&mut wanted["metadata"], "annotations");
        annotations.remove(OVER_CAPACITY);
        if truncated {
            annotations.insert(OVER_CAPACITY.into(), "truncated".into());
        }
    }
    if subsets.is_empty() {
        wanted.as_object_mut().map(|map| map.remove("subsets"));
    } else {
        wanted["subsets"] = subsets.into();
    }
    let unchanged = existing.is_some_and(|found| {
        let found_subsets = found["subsets"].as_array().map(Vec::as_slice).unwrap_or_default();
        let wanted_subsets = wanted["subsets"].as_array().map(Vec::as_slice).unwrap_or_default();
        found_subsets == wanted_subsets && meaning::same(&found["metadata"], &wanted["metadata"])
    });
    (!unchanged).then_some(wanted)
}

fn labels(service: &ServiceFacts) -> Map<String, Value> {
    let mut labels: Map<String, Value> =
        service.meta.labels.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    labels.remove(HEADLESS);
    if service.headless {
        labels.insert(HEADLESS.into(), "".into());
    }
    labels.insert(MANAGED_BY.into(), "endpoint-controller".into());
    labels
}

/// Ports that have exactly the same addresses share a subset. Also whether addresses had to be left out.
fn subsets(service: &ServiceFacts, pods: &[Arc<PodFacts>]) -> (Vec<Tree>, bool) {
    let mut by_port: BTreeMap<Option<Port>, Addresses> = BTreeMap::new();
    let shown =
        pods.iter().enumerate().filter(|(_, pod)| service.publish_not_ready_addresses || !pod.meta.is_deleting());
    // Ready ones first, so that they are the last to be left out.
    let mut shown: Vec<_> = shown.filter_map(|(at, pod)| Some((at, pod, address(service, pod)?))).collect();
    let truncated = shown.len() > ENDPOINTS_CAPACITY;
    shown.sort_by_key(|(at, pod, _)| (!is_ready(service, pod), *at));
    shown.truncate(ENDPOINTS_CAPACITY);
    for (at, pod, ip) in shown {
        let ports = facts::ports(service, pod);
        let no_ports = service.headless && service.ports.is_empty();
        let keys = ports.into_iter().map(Some).chain(no_ports.then_some(None));
        for key in keys {
            let addresses = by_port.entry(key).or_default();
            let list = if is_ready(service, pod) { &mut addresses.ready } else { &mut addresses.not_ready };
            list.insert(Address { ip: ip.into(), pod: at });
        }
    }
    let mut by_addresses: BTreeMap<Addresses, Vec<Port>> = BTreeMap::new();
    for (port, addresses) in by_port {
        by_addresses.entry(addresses).or_default().extend(port);
    }
    let subset = |(addresses, ports): (Addresses, Vec<Port>)| {
        let mut subset = Map::new();
        let list = |of: &BTreeSet<Address>| of.iter().map(|a| address_tree(service, &pods[a.pod], &a.ip)).collect();
        if !addresses.ready.is_empty() {
            subset.insert("addresses".into(), list(&addresses.ready));
        }
        if !addresses.not_ready.is_empty() {
            subset.insert("notReadyAddresses".into(), list(&addresses.not_ready));
        }
        if !ports.is_empty() {
            subset.insert("ports".into(), ports.iter().map(port_tree).collect());
        }
        Value::Object(subset)
    };
    (by_addresses.into_iter().map(subset).collect(), truncated)
}

fn is_ready(service: &ServiceFacts, pod: &PodFacts) -> bool {
    service.publish_not_ready_addresses || pod.ready
}

/// The pod's address of the Service's first family.
fn address<'a>(service: &ServiceFacts, pod: &'a PodFacts) -> Option<&'a str> {
    let ipv6 = service.ip_families.first().is_some_and(|family| &**family == "IPv6");
    pod.pod_ips.iter().map(|ip| &**ip).find(|ip| facts::is_ipv6(ip) == ipv6)
}

fn address_tree(service: &ServiceFacts, pod: &PodFacts, ip: &str) -> Tree {
    let mut tree = json!({
        "ip": ip,
        "targetRef": {"kind": "Pod", "namespace": pod.meta.namespace(), "name": pod.meta.name(), "uid": pod.meta.uid},
    });
    if !pod.node_name.is_empty() {
        tree["nodeName"] = (*pod.node_name).into();
    }
    if let Some(hostname) = facts::hostname(service, pod) {
        tree["hostname"] = hostname.into();
    }
    tree
}

fn port_tree(port: &Port) -> Tree {
    let mut tree = json!({"port": port.port, "protocol": port.protocol});
    if !port.name.is_empty() {
        tree["name"] = (*port.name).into();
    }
    if let Some(app_protocol) = &port.app_protocol {
        tree["appProtocol"] = (**app_protocol).into();
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{pod, project};

    fn pod_at(ip: &str, ready: bool, ports: Tree) -> Arc<PodFacts> {
        pod(&json!({
            "metadata": {"name": ip, "namespace": "ns", "uid": ip, "labels": {"app": "web"}},
            "spec": {"nodeName": "n", "containers": [{"ports": ports}]},
            "status": {"podIPs": [{"ip": ip}], "phase": "Running",
                       "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        }))
    }

    fn service(spec: Tree) -> ServiceFacts {
        project(&json!({"metadata": {"name": "web", "namespace": "ns", "uid": "s"}, "spec": spec}))
    }

    #[test]
    fn addresses_by_readiness_and_port() {
        let service = service(
            json!({"selector": {"app": "web"}, "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]}),
        );
        let pods = [
            pod_at("10.0.0.2", true, json!([])),
            pod_at("10.0.0.1", true, json!([])),
            pod_at("10.0.0.3", false, json!([])),
        ];
        let wanted = plan(&service, &pods, None).expect("there is nothing yet");
        let subsets = wanted["subsets"].as_array().expect("subsets");
        assert_eq!(subsets.len(), 1, "ports with the same addresses share a subset");
        let ips = |list: &Tree| list.as_array().map(|l| l.iter().map(|a| a["ip"].clone()).collect::<Vec<_>>());
        assert_eq!(ips(&subsets[0]["addresses"]), Some(vec![json!("10.0.0.1"), json!("10.0.0.2")]));
        assert_eq!(ips(&subsets[0]["notReadyAddresses"]), Some(vec![json!("10.0.0.3")]));
        let ports = json!([{"name": "a", "port": 80, "protocol": "TCP"}, {"name": "b", "port": 81, "protocol": "TCP"}]);
        assert_eq!(subsets[0]["ports"], ports);
        assert_eq!(plan(&service, &pods, Some(&wanted)), None, "nothing changed, nothing written");
    }

    #[test]
    fn named_ports_split_subsets_and_no_pods_leave_none() {
        let service = service(json!({"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}));
        let port = |n: u16| json!([{"name": "http", "containerPort": n}]);
        let pods = [
            pod_at("10.0.0.1", true, port(8080)),
            pod_at("10.0.0.2", true, port(9090)),
            pod_at("10.0.0.3", true, json!([])),
        ];
        let wanted = plan(&service, &pods, None).expect("there is nothing yet");
        assert_eq!(wanted["subsets"].as_array().map(Vec::len), Some(2));
        let emptied = plan(&service, &[], Some(&wanted)).expect("a change");
        assert!(emptied.get("subsets").is_none());
    }

    #[test]
    fn more_than_a_thousand_are_cut_and_said_so() {
        let service = service(json!({"selector": {"app": "web"}, "ports": [{"port": 80}]}));
        let pods: Vec<_> =
            (0..1100).map(|n| pod_at(&format!("10.0.{}.{}", n / 250, n % 250), n % 2 == 1, json!([]))).collect();
        let wanted = plan(&service, &pods, None).expect("there is nothing yet");
        let subset = &wanted["subsets"][0];
        let count = |field: &str| subset[field].as_array().map_or(0, Vec::len);
        assert_eq!((count("addresses"), count("notReadyAddresses")), (550, 450));
        assert_eq!(meta::annotation(&wanted, OVER_CAPACITY), Some("truncated"));
        let fewer = plan(&service, &pods[..10], Some(&wanted)).expect("a change");
        assert_eq!(meta::annotation(&fewer, OVER_CAPACITY), None);
    }
}
