//! The EndpointSlices that mirror an Endpoints object somebody else wrote. Pure.
//! <https://kubernetes.io/docs/concepts/services-networking/service/#endpointslice-mirroring>

use super::facts::{Port, is_ipv6};
use super::spread::{self, Desired, Dress, Group, MANAGED_BY, Plan, SERVICE_NAME};
use crate::limits::MIRRORED_PER_SUBSET;
use coracle_client::Meta;
use coracle_client::facts::{Owner, ServiceFacts};
use coracle_proto::resource::ENDPOINTS;
use coracle_proto::{Tree, meta};
use serde_json::{Map, Value, json};

pub(super) const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Endpoints used as a lock by old leader elections.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";

/// Whether these Endpoints are to be mirrored. Those of a Service with a selector are made from the same pods already.
pub(super) fn is_mirrored(endpoints: &Tree, service: Option<&ServiceFacts>) -> bool {
    let wanted = meta::label(endpoints, SKIP) != Some("true") && meta::annotation(endpoints, LEADER).is_none();
    wanted && service.is_some_and(|s| s.selector.is_none()) && !meta::is_deleting(endpoints)
}

pub(super) fn plan(owner: &Meta, endpoints: &Tree, existing: Vec<Tree>) -> Plan {
    let mut labels: Map<String, Value> =
        owner.labels.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    labels.insert(SERVICE_NAME.into(), owner.name().into());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    let dress = Dress {
        name: owner.name().into(),
        namespace: owner.namespace().into(),
        labels,
        owner: Owner::controller(&ENDPOINTS, owner).tree(),
    };
    spread::plan(&dress, desired(endpoints), existing, |e| e["addresses"][0].as_str())
}

fn desired(endpoints: &Tree) -> Desired {
    let mut groups = Desired::new();
    for subset in endpoints["subsets"].as_array().into_iter().flatten() {
        let mut ports: Vec<Port> = subset["ports"].as_array().into_iter().flatten().filter_map(port).collect();
        ports.sort();
        let of = |field: &str, ready: bool| {
            let list = subset[field].as_array().into_iter().flatten();
            list.map(move |address| (address, ready)).collect::<Vec<_>>()
        };
        let all = of("addresses", true).into_iter().chain(of("notReadyAddresses", false));
        for (address, ready) in all.take(MIRRORED_PER_SUBSET) {
            let Some(ip) = address["ip"].as_str() else { continue };
            let address_type = if is_ipv6(ip) { "IPv6" } else { "IPv4" };
            let group = Group { address_type, ports: ports.clone() };
            groups.entry(group).or_default().insert(ip.into(), endpoint(address, ip, ready));
        }
    }
    if groups.is_empty() {
        groups.insert(Group { address_type: "IPv4", ports: Vec::new() }, Default::default());
    }
    groups
}

fn port(tree: &Tree) -> Option<Port> {
    Some(Port {
        name: tree["name"].as_str().unwrap_or_default().into(),
        protocol: tree["protocol"].as_str().unwrap_or("TCP").into(),
        port: tree["port"].as_u64()?.try_into().ok()?,
        app_protocol: tree["appProtocol"].as_str().map(Into::into),
    })
}

fn endpoint(address: &Tree, ip: &str, ready: bool) -> Tree {
    let mut endpoint = json!({"addresses": [ip], "conditions": {"ready": ready}});
    for field in ["hostname", "nodeName", "targetRef"] {
        if let Some(value) = address.get(field).filter(|v| !v.is_null()) {
            endpoint[field] = value.clone();
        }
    }
    endpoint
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{meta as meta_of, project};

    #[test]
    fn which_endpoints_are_mirrored() {
        let service = |spec: Tree| project::<ServiceFacts>(&json!({"metadata": {"name": "x"}, "spec": spec}));
        let (manual, selecting) = (service(json!({})), service(json!({"selector": {"a": "b"}})));
        let plain = json!({"metadata": {"name": "x"}});
        let skipped = json!({"metadata": {"labels": {SKIP: "true"}}});
        let lock = json!({"metadata": {"annotations": {LEADER: "{}"}}});
        let table = [
            (&plain, Some(&manual), true),
            (&plain, Some(&selecting), false),
            (&plain, None, false),
            (&skipped, Some(&manual), false),
            (&lock, Some(&manual), false),
        ];
        for (endpoints, service, want) in table {
            assert_eq!(is_mirrored(endpoints, service), want, "{endpoints}");
        }
    }

    #[test]
    fn subsets_become_slices() {
        let owner = meta_of(json!({"name": "db", "namespace": "ns", "uid": "e", "labels": {"team": "x"}}));
        let endpoints = json!({"subsets": [{
            "addresses": [{"ip": "192.0.2.1", "hostname": "a"}, {"ip": "fd00::1"}],
            "notReadyAddresses": [{"ip": "192.0.2.2"}],
            "ports": [{"name": "sql", "port": 5432}],
        }]});
        let plan = plan(&owner, &endpoints, Vec::new());
        assert_eq!((plan.create.len(), plan.update.len(), plan.delete.len()), (2, 0, 0));
        let slice = plan.create.iter().find(|s| s["addressType"] == "IPv4").expect("IPv4");
        let want = json!([
            {"addresses": ["192.0.2.1"], "conditions": {"ready": true}, "hostname": "a"},
            {"addresses": ["192.0.2.2"], "conditions": {"ready": false}},
        ]);
        assert_eq!(slice["endpoints"], want);
        assert_eq!(slice["ports"], json!([{"name": "sql", "port": 5432, "protocol": "TCP"}]));
        assert_eq!((meta::label(slice, MANAGED_BY), meta::label(slice, "team")), (Some(MANAGER), Some("x")));
    }
}
