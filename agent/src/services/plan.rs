//! Services and slices to routes and names: pure.
//!
//! The rules are those of upstream's proxy: ready endpoints; where a service has none, those that still serve while
//! they terminate. See <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#conditions>.

use super::facts::{EndpointFacts, PortFacts, ServiceFacts, SliceFacts};
use super::local::LocalState;
use coracle_network as network;
use coracle_proto::ObjectKey;
use std::collections::BTreeMap;

/// All that is to be routed on this node.
pub fn plan(
    node: &str,
    services: &BTreeMap<ObjectKey, ServiceFacts>,
    slices: &BTreeMap<ObjectKey, SliceFacts>,
    local: &BTreeMap<String, LocalState>,
) -> network::Services {
    let mut by_service: BTreeMap<(&str, &str), Vec<&SliceFacts>> = BTreeMap::new();
    for slice in slices.values() {
        by_service.entry((&slice.key.namespace, &slice.service)).or_default().push(slice);
    }
    let planned = services.values().map(|facts| {
        let slices = by_service.get(&(facts.key.namespace.as_str(), facts.key.name.as_str()));
        service(node, facts, slices.map_or(&[][..], Vec::as_slice), local)
    });
    network::Services(planned.collect())
}

fn service(
    node: &str,
    facts: &ServiceFacts,
    slices: &[&SliceFacts],
    local: &BTreeMap<String, LocalState>,
) -> network::Service {
    let endpoints = seen(facts, slices, local);
    let addresses = if facts.is_headless() { addresses(facts, &endpoints) } else { Vec::new() };
    network::Service {
        namespace: facts.key.namespace.clone(),
        name: facts.key.name.clone(),
        cluster_ips: facts.cluster_ips.clone(),
        external_ips: facts.external_ips.clone(),
        external_name: facts.external_name.clone(),
        ports: facts.ports.iter().map(|port| service_port(node, port, &endpoints)).collect(),
        affinity_seconds: facts.affinity_seconds,
        internal_local: facts.internal_local,
        external_local: facts.external_local,
        publish_not_ready: facts.publish_not_ready,
        addresses,
    }
}

/// Each endpoint with the ports of its slice, as this node sees it.
fn seen<'a>(
    facts: &ServiceFacts,
    slices: &[&'a SliceFacts],
    local: &BTreeMap<String, LocalState>,
) -> Vec<(EndpointFacts, &'a [PortFacts])> {
    let mut seen = Vec::new();
    for slice in slices {
        for endpoint in &slice.endpoints {
            let state = endpoint.pod_uid.as_ref().and_then(|uid| local.get(uid));
            seen.push((with_local(endpoint.clone(), state, facts.publish_not_ready), slice.ports.as_slice()));
        }
    }
    seen
}

/// A service that publishes what is not ready does so to the end, as upstream.
fn with_local(mut endpoint: EndpointFacts, state: Option<&LocalState>, publish_not_ready: bool) -> EndpointFacts {
    if publish_not_ready {
        return endpoint;
    }
    match state {
        None => {}
        Some(LocalState::NotReady) => (endpoint.ready, endpoint.serving) = (false, false),
        Some(LocalState::Terminating) => (endpoint.ready, endpoint.terminating) = (false, true),
    }
    endpoint
}

fn service_port(node: &str, port: &PortFacts, endpoints: &[(EndpointFacts, &[PortFacts])]) -> network::ServicePort {
    let matching = |chosen: fn(&EndpointFacts) -> bool| -> Vec<network::Endpoint> {
        let mut found: Vec<network::Endpoint> = endpoints
            .iter()
            .filter(|(e, _)| chosen(e))
            .filter_map(|(e, ports)| {
                let target = ports.iter().find(|p| p.name == port.name && p.protocol == port.protocol)?;
                Some(network::Endpoint {
                    address: e.address,
                    port: target.port,
                    local: e.node.as_deref() == Some(node),
                })
            })
            .collect();
        found.sort();
        found.dedup();
        found
    };
    let mut chosen = matching(|e| e.ready);
    if chosen.is_empty() {
        chosen = matching(|e| e.serving && e.terminating);
    }
    network::ServicePort {
        name: port.name.clone(),
        protocol: port.protocol,
        port: port.port,
        node_port: port.node_port,
        endpoints: chosen,
    }
}

fn addresses(facts: &ServiceFacts, endpoints: &[(EndpointFacts, &[PortFacts])]) -> Vec<network::EndpointAddress> {
    let mut addresses: Vec<network::EndpointAddress> = endpoints
        .iter()
        .map(|(e, ports)| network::EndpointAddress {
            address: e.address,
            hostname: e.hostname.clone(),
            ready: e.ready || facts.publish_not_ready,
            ports: ports.iter().map(|p| (p.name.clone(), (p.protocol, p.port))).collect(),
        })
        .collect();
    addresses.sort_by_key(|a| a.address);
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Service;
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    use serde_json::{Value, json};

    fn parsed_service(spec: Value) -> ServiceFacts {
        let object = json!({"metadata": {"name": "web", "namespace": "d"}, "spec": spec});
        ServiceFacts::of(&serde_json::from_value::<Service>(object).expect("a service"))
    }

    fn parsed_slice(endpoints: Value) -> SliceFacts {
        let object = json!({
            "metadata": {"name": "web-1", "namespace": "d", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints,
        });
        SliceFacts::of(&serde_json::from_value::<EndpointSlice>(object).expect("a slice"))
            .expect("belongs to a service")
    }

    fn planned(spec: Value, endpoints: Value, local: &[(&str, LocalState)]) -> network::Service {
        let (service, slice) = (parsed_service(spec), parsed_slice(endpoints));
        let local = local.iter().map(|(uid, state)| ((*uid).to_owned(), *state)).collect();
        let services = BTreeMap::from([(service.key.clone(), service)]);
        let slices = BTreeMap::from([(slice.key.clone(), slice)]);
        plan("me", &services, &slices, &local).0.remove(0)
    }

    fn endpoint(last: u8, conditions: Value) -> Value {
        json!({
            "addresses": [format!("10.1.0.{last}")], "conditions": conditions, "nodeName": if last == 1 {"me"} else {"other"},
            "targetRef": {"kind": "Pod", "uid": format!("u{last}")},
        })
    }

    fn spec() -> Value {
        json!({"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ports": [{"name": "http", "port": 80}]})
    }

    #[test]
    fn ready_endpoints_count_and_else_those_that_still_serve() {
        let (ready, terminating, unready) = (
            json!({"ready": true}),
            json!({"ready": false, "serving": true, "terminating": true}),
            json!({"ready": false, "serving": false}),
        );
        use LocalState::{NotReady, Terminating};
        type Row<'a> = (&'a str, [&'a Value; 2], &'a [(&'a str, LocalState)], &'a [u8]);
        let table: &[Row<'_>] = &[
            ("both ready", [&ready, &ready], &[], &[1, 2]),
            ("one terminates", [&ready, &terminating], &[], &[1]),
            ("none is ready", [&unready, &terminating], &[], &[2]),
            ("nothing at all", [&unready, &unready], &[], &[]),
            ("here it ends, the API does not know yet", [&ready, &ready], &[("u1", Terminating)], &[2]),
            ("the last one ends here", [&ready, &unready], &[("u1", Terminating)], &[1]),
            ("here it is not ready", [&ready, &ready], &[("u1", NotReady)], &[2]),
            ("the last one is not ready", [&ready, &unready], &[("u1", NotReady)], &[]),
        ];
        for (name, [one, two], local, expected) in table {
            let endpoints = json!([endpoint(1, (*one).clone()), endpoint(2, (*two).clone())]);
            let service = planned(spec(), endpoints, local);
            let found: Vec<u8> = service.ports[0].endpoints.iter().map(|e| e.address.octets()[3]).collect();
            assert_eq!(&found, expected, "{name}");
            assert!(
                service.ports[0].endpoints.iter().all(|e| e.port == 8080 && e.local == (e.address.octets()[3] == 1))
            );
        }
    }

    #[test]
    fn what_is_published_unready_stays_to_the_end() {
        let mut spec = spec();
        spec["publishNotReadyAddresses"] = json!(true);
        let service = planned(spec, json!([endpoint(1, json!({"ready": true}))]), &[("u1", LocalState::Terminating)]);
        assert_eq!(service.ports[0].endpoints.len(), 1);
    }

    #[test]
    fn ports_are_matched_by_name() {
        let mut spec = spec();
        spec["ports"] = json!([{"name": "http", "port": 80, "nodePort": 30080}, {"name": "metrics", "port": 9090}]);
        let service = planned(spec, json!([endpoint(1, json!({}))]), &[]);
        assert_eq!((service.ports[0].node_port, service.ports[0].endpoints.len()), (Some(30080), 1));
        assert!(service.ports[1].endpoints.is_empty());
    }

    #[test]
    fn a_headless_service_has_addresses_and_an_external_name_has_its_name() {
        let spec = json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": [{"name": "http", "port": 80}]});
        let mut named = endpoint(1, json!({"ready": true}));
        named["hostname"] = json!("web-0");
        let service = planned(spec, json!([named]), &[]);
        assert!(service.cluster_ips.is_empty());
        assert_eq!(service.addresses[0].hostname.as_deref(), Some("web-0"));
        assert_eq!(service.addresses[0].ports["http"], (network::Protocol::Tcp, 8080));
        let external = planned(json!({"type": "ExternalName", "externalName": "a.example"}), json!([]), &[]);
        assert_eq!(external.external_name.as_deref(), Some("a.example"));
        assert!(external.addresses.is_empty());
    }

    #[test]
    fn affinity_and_policies_are_passed_on() {
        let mut spec = spec();
        spec["sessionAffinity"] = json!("ClientIP");
        spec["internalTrafficPolicy"] = json!("Local");
        let service = planned(spec, json!([]), &[]);
        assert_eq!(
            (service.affinity_seconds, service.internal_local, service.external_local),
            (Some(10_800), true, false)
        );
    }
}
