//! The EndpointSlices of a Service's pods. Pure.

use super::facts::{self, HEADLESS};
use super::spread::{self, Desired, Dress, Group, MANAGED_BY, Plan, SERVICE_NAME};
use coracle_client::PodFacts;
use coracle_client::facts::{Owner, ServiceFacts};
use coracle_proto::Tree;
use coracle_proto::resource::SERVICES;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(super) const MANAGER: &str = "endpointslice-controller.k8s.io";
/// Where a node says which zone it is in.
pub(super) const ZONE: &str = "topology.kubernetes.io/zone";

/// `existing` are the Service's slices that this controller manages. `zone` tells a node's zone.
pub(super) fn plan(
    service: &ServiceFacts,
    pods: &[Arc<PodFacts>],
    existing: Vec<Tree>,
    zone: &dyn Fn(&str) -> Option<String>,
) -> Plan {
    spread::plan(&dress(service), desired(service, pods, zone), existing, |e| e["targetRef"]["uid"].as_str())
}

fn dress(service: &ServiceFacts) -> Dress {
    let mut labels: Map<String, Value> =
        service.meta.labels.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    labels.remove(HEADLESS);
    labels.insert(SERVICE_NAME.into(), service.meta.name().into());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    if service.headless {
        labels.insert(HEADLESS.into(), "".into());
    }
    Dress {
        name: service.meta.name().into(),
        namespace: service.meta.namespace().into(),
        labels,
        owner: Owner::controller(&SERVICES, &service.meta).tree(),
    }
}

/// Every group with its endpoints by uid; a placeholder group without endpoints where there are none.
fn desired(service: &ServiceFacts, pods: &[Arc<PodFacts>], zone: &dyn Fn(&str) -> Option<String>) -> Desired {
    let mut groups = Desired::new();
    for address_type in address_types(service) {
        let before = groups.len();
        for pod in pods {
            let of_type = |ip: &&str| facts::is_ipv6(ip) == (address_type == "IPv6");
            let Some(address) = pod.pod_ips.iter().map(|ip| &**ip).find(of_type) else { continue };
            let group = Group { address_type, ports: facts::ports(service, pod) };
            let endpoint = endpoint(service, pod, address, zone);
            groups.entry(group).or_default().insert(pod.meta.uid.clone(), endpoint);
        }
        if groups.len() == before {
            groups.insert(Group { address_type, ports: Vec::new() }, Default::default());
        }
    }
    groups
}

fn address_types(service: &ServiceFacts) -> Vec<&'static str> {
    let named = |family: &str| if family == "IPv6" { "IPv6" } else { "IPv4" };
    let types: Vec<_> = service.ip_families.iter().map(|family| named(family)).collect();
    if types.is_empty() { vec!["IPv4"] } else { types }
}

fn endpoint(service: &ServiceFacts, pod: &PodFacts, address: &str, zone: &dyn Fn(&str) -> Option<String>) -> Tree {
    let terminating = pod.meta.is_deleting();
    let ready = service.publish_not_ready_addresses || (pod.ready && !terminating);
    let mut endpoint = json!({
        "addresses": [address],
        "conditions": {"ready": ready, "serving": pod.ready, "terminating": terminating},
        "targetRef": {"kind": "Pod", "namespace": pod.meta.namespace(), "name": pod.meta.name(), "uid": pod.meta.uid},
    });
    if !pod.node_name.is_empty() {
        endpoint["nodeName"] = (*pod.node_name).into();
        if let Some(zone) = zone(&pod.node_name) {
            endpoint["zone"] = zone.into();
        }
    }
    if let Some(hostname) = facts::hostname(service, pod) {
        endpoint["hostname"] = hostname.into();
    }
    endpoint
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{pod, project};
    use coracle_proto::meta;

    fn service(spec: Tree) -> ServiceFacts {
        project(
            &json!({"metadata": {"name": "web", "namespace": "ns", "uid": "s", "labels": {"team": "x"}}, "spec": spec}),
        )
    }

    fn plain() -> ServiceFacts {
        service(
            json!({"selector": {"app": "web"}, "clusterIP": "10.0.0.9", "ports": [{"port": 80, "targetPort": "http"}]}),
        )
    }

    fn pod_tree(n: usize) -> Tree {
        json!({
            "metadata": {"name": format!("p{n:03}"), "namespace": "ns", "uid": format!("u{n:03}"), "labels": {"app": "web"}},
            "spec": {"nodeName": "n", "containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]},
            "status": {"podIPs": [{"ip": format!("10.1.{}.{}", n / 200, n % 200)}], "phase": "Running",
                       "conditions": [{"type": "Ready", "status": "True"}]},
        })
    }

    fn pods(trees: &[Tree]) -> Vec<Arc<PodFacts>> {
        trees.iter().map(pod).collect()
    }

    fn many(count: usize) -> Vec<Arc<PodFacts>> {
        pods(&(0..count).map(pod_tree).collect::<Vec<_>>())
    }

    /// What the API would hold after the plan.
    fn applied(plan: Plan, before: &[Tree]) -> Vec<Tree> {
        let name = |tree: &Tree| meta::name(tree).to_owned();
        let gone: Vec<String> = plan.delete.iter().chain(&plan.update).map(name).collect();
        let mut after: Vec<Tree> = before.iter().filter(|s| !gone.contains(&name(s))).cloned().collect();
        after.extend(plan.update);
        for (n, mut new) in plan.create.into_iter().enumerate() {
            new["metadata"]["name"] = format!("web-{}", before.len() + n).into();
            after.push(new);
        }
        after.sort_by_key(name);
        after
    }

    fn run(service: &ServiceFacts, pods: &[Arc<PodFacts>], before: &[Tree]) -> Plan {
        plan(service, pods, before.to_vec(), &|_| Some("z".into()))
    }

    fn sizes(slices: &[Tree]) -> Vec<usize> {
        slices.iter().map(|s| s["endpoints"].as_array().map_or(0, Vec::len)).collect()
    }

    #[test]
    fn an_endpoint_says_everything_about_its_pod() {
        let slices = applied(run(&plain(), &many(1), &[]), &[]);
        let slice = &slices[0];
        assert_eq!(slice["addressType"], "IPv4");
        assert_eq!(slice["ports"], json!([{"name": "", "protocol": "TCP", "port": 8080}]));
        assert_eq!(meta::label(slice, SERVICE_NAME), Some("web"));
        assert_eq!(meta::label(slice, MANAGED_BY), Some(MANAGER));
        assert_eq!(meta::label(slice, "team"), Some("x"));
        assert_eq!(slice["metadata"]["generateName"], "web-");
        assert_eq!(slice["metadata"]["ownerReferences"][0]["uid"], "s");
        let want = json!([{
            "addresses": ["10.1.0.0"], "nodeName": "n", "zone": "z",
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "targetRef": {"kind": "Pod", "namespace": "ns", "name": "p000", "uid": "u000"},
        }]);
        assert_eq!(slice["endpoints"], want);
    }

    #[test]
    fn conditions_follow_readiness_and_deletion() {
        let mut unready = pod_tree(0);
        unready["status"]["conditions"][0]["status"] = "False".into();
        let mut terminating = pod_tree(0);
        terminating["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let published = service(json!({"selector": {"app": "web"}, "publishNotReadyAddresses": true}));
        // (service, pod, ready, serving, terminating)
        let table = [
            (plain(), pod_tree(0), true, true, false),
            (plain(), unready.clone(), false, false, false),
            (plain(), terminating.clone(), false, true, true),
            (published.clone(), unready, true, false, false),
            (published, terminating, true, true, true),
        ];
        for (service, tree, ready, serving, terminating) in table {
            let slices = applied(run(&service, &pods(std::slice::from_ref(&tree)), &[]), &[]);
            let want = json!({"ready": ready, "serving": serving, "terminating": terminating});
            assert_eq!(slices[0]["endpoints"][0]["conditions"], want, "{tree}");
        }
    }

    #[test]
    fn slices_hold_a_hundred_and_change_little() {
        let (service, all) = (plain(), many(250));
        let before = applied(run(&service, &all, &[]), &[]);
        assert_eq!(sizes(&before), [100, 100, 50]);
        assert_eq!(run(&service, &all, &before), Plan::default(), "nothing changed, nothing written");

        let fewer: Vec<_> = all.iter().filter(|p| p.meta.name() != "p150").cloned().collect();
        let plan = run(&service, &fewer, &before);
        assert_eq!((plan.create.len(), plan.update.len(), plan.delete.len()), (0, 1, 0));
        let after = applied(plan, &before);
        assert_eq!(sizes(&after), [100, 99, 50]);

        let mut swapped = fewer.clone();
        swapped[3] = pod(&pod_tree(300));
        let plan = run(&service, &swapped, &after);
        assert_eq!((plan.create.len(), plan.update.len(), plan.delete.len()), (0, 1, 0), "the hole is filled at once");

        let plan = run(&service, &all[..100], &before);
        assert_eq!((plan.update.len(), plan.delete.len()), (0, 2));
    }

    #[test]
    fn no_pods_leave_one_placeholder() {
        let service = plain();
        let before = applied(run(&service, &[], &[]), &[]);
        assert_eq!(sizes(&before), [0]);
        assert_eq!(run(&service, &[], &before), Plan::default());
        let filled = run(&service, &many(2), &before);
        assert_eq!(
            (filled.create.len(), filled.update.len(), filled.delete.len()),
            (0, 1, 0),
            "it is used, not replaced"
        );
        let emptied = run(&service, &[], &applied(filled, &before));
        assert_eq!((emptied.create.len(), emptied.update.len(), emptied.delete.len()), (0, 1, 0));
    }

    #[test]
    fn pods_with_other_named_ports_have_their_own_slice() {
        let mut other = pod_tree(1);
        other["spec"]["containers"][0]["ports"][0]["containerPort"] = 9090.into();
        let mut nameless = pod_tree(2);
        nameless["spec"]["containers"][0]["ports"][0]["name"] = "web".into();
        let slices = applied(run(&plain(), &pods(&[pod_tree(0), other, nameless]), &[]), &[]);
        let mut ports: Vec<Tree> = slices.iter().map(|s| s["ports"].clone()).collect();
        ports.sort_by_key(Tree::to_string);
        assert_eq!(ports[0], json!([]));
        assert_eq!(ports[1], json!([{"name": "", "protocol": "TCP", "port": 8080}]));
        assert_eq!(ports[2], json!([{"name": "", "protocol": "TCP", "port": 9090}]));
    }

    #[test]
    fn headless_dual_stack_and_hostnames() {
        let service = service(json!({"selector": {"app": "web"}, "clusterIP": "None", "ipFamilies": ["IPv4", "IPv6"]}));
        let mut tree = pod_tree(0);
        tree["spec"]["hostname"] = "db-0".into();
        tree["spec"]["subdomain"] = "web".into();
        tree["status"]["podIPs"] = json!([{"ip": "10.1.0.1"}, {"ip": "fd00::1"}]);
        let slices = applied(run(&service, &pods(&[tree]), &[]), &[]);
        let found: Vec<_> = slices.iter().map(|s| (&s["addressType"], &s["endpoints"][0]["addresses"][0])).collect();
        assert_eq!(found, [(&json!("IPv4"), &json!("10.1.0.1")), (&json!("IPv6"), &json!("fd00::1"))]);
        assert!(slices.iter().all(|s| s["endpoints"][0]["hostname"] == "db-0" && meta::label(s, HEADLESS) == Some("")));
    }
}
