//! Services: ClusterIP, NodePort and headless reach the pods they select, and only while these are ready.

use crate::ground::{Ground, ground};
use coracle_tests::{Manifest, eventually, fetch};
use serde_json::Value;
use std::collections::BTreeSet;

/// The pods that answer at an address, until there are as many as there should be.
#[track_caller]
fn pods_at(address: &str, count: usize) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    eventually(&format!("{count} pods answer at {address}"), || {
        match fetch(address, "/") {
            Ok((200, body)) => drop(seen.insert(body)),
            other => return Err(format!("{other:?}, until now {seen:?}")),
        }
        if seen.len() == count { Ok(seen.clone()) } else { Err(format!("{seen:?}")) }
    })
}

fn user_service(ground: &Ground) {
    Manifest::of("001/basic-deployment.yaml").apply(&ground.kubectl);
    ground.rolled_out("default", "user-service");
}

#[test]
fn a_cluster_ip_spreads_connections_over_all_pods_from_the_host_and_from_a_pod() {
    let Some(ground) = ground(&[]) else { return };
    user_service(&ground);
    Manifest::of("001/cluster-ip.yaml").apply(&ground.kubectl);
    assert_eq!(ground.field("default", "service/user-service", ".spec.type"), "ClusterIP");
    let from_host = pods_at(&ground.service("default", "user-service"), 3);
    assert!(from_host.iter().all(|body| body.starts_with("1.0.0 user-service-")), "{from_host:?}");
    let mut from_pod = BTreeSet::new();
    eventually("a pod reaches all of them", || {
        let body = ground.exec("default", "deployment/user-service", &["wget", "-qO-", "http://user-service/"]);
        from_pod.insert(body);
        if from_pod == from_host { Ok(()) } else { Err(from_pod.clone()) }
    });
    let endpoints = ground.kubectl.json(&["get", "endpoints", "user-service"]);
    assert_eq!(endpoints["subsets"][0]["addresses"].as_array().map(Vec::len), Some(3), "{endpoints}");
    assert_eq!(endpoints["subsets"][0]["ports"][0]["port"], 8080);
}

#[test]
fn a_node_port_is_open_on_the_node_and_its_cluster_ip_stays() {
    let Some(ground) = ground(&[]) else { return };
    user_service(&ground);
    Manifest::of("001/cluster-ip.yaml").apply(&ground.kubectl);
    let address = ground.service("default", "user-service");
    Manifest::of("001/node-port.yaml").apply(&ground.kubectl);
    assert_eq!(ground.service("default", "user-service"), address, "the type changed, the address did not");
    assert_eq!(ground.field("default", "service/user-service", ".spec.ports[0].nodePort"), "30080");
    let node = ground.field("default", "nodes", ".items[0].status.addresses[?(@.type==\"InternalIP\")].address");
    pods_at(&format!("{node}:30080"), 3);
    pods_at(&address, 3);
    let from_pod = ["wget", "-qO-", &format!("http://{node}:30080/")];
    let answer = ground.exec("default", "deployment/user-service", &from_pod);
    assert!(answer.starts_with("1.0.0 user-service-"), "{answer}");
    // Another Service cannot have the port.
    let twin = Manifest::of("001/node-port.yaml").with("/metadata/name", "twin");
    let refused = twin.try_apply(&ground.kubectl, &[]).refused();
    let words = "spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated";
    assert!(refused.contains(words), "{refused}");
}

#[test]
fn a_headless_service_names_the_pods_themselves() {
    let Some(ground) = ground(&["databases"]) else { return };
    user_service(&ground);
    Manifest::of("001/headless.yaml").apply(&ground.kubectl);
    assert_eq!(ground.field("default", "service/user-service", ".spec.clusterIP"), "None");
    let pods = ground.pods("default", "app=user-service");
    let addresses: BTreeSet<String> =
        pods.iter().filter_map(|pod| pod["status"]["podIP"].as_str().map(str::to_owned)).collect();
    assert_eq!(addresses.len(), 3);
    let name = "user-service.default.svc.cluster.local";
    eventually("the name has the pods' addresses", || {
        let found = resolved(&ground, "default", "deployment/user-service", name);
        if found == addresses { Ok(()) } else { Err(found) }
    });
    ground.kubectl.ok(&["scale", "deployment/user-service", "--replicas=1"]);
    eventually("the name follows the pods", || {
        let found = resolved(&ground, "default", "deployment/user-service", name);
        if found.len() == 1 && found.is_subset(&addresses) { Ok(()) } else { Err(found) }
    });
    // Nothing is selected: the Service is there and has no endpoint.
    Manifest::of("003/headless.yaml").apply(&ground.kubectl);
    let slice = eventually("its slice", || {
        let list = ground.kubectl.json(&["-n", "databases", "get", "endpointslices"]);
        list["items"].get(0).cloned().ok_or(list)
    });
    assert!(slice["endpoints"].as_array().is_none_or(Vec::is_empty), "{slice}");
}

#[test]
fn only_ready_pods_get_connections() {
    let Some(ground) = ground(&["production"]) else { return };
    Manifest::of("003/cluster-ip.yaml").apply(&ground.kubectl);
    let address = ground.service("production", "api-service");
    let nobody = fetch(&address, "/").expect_err("nothing is selected yet");
    assert_eq!(nobody.kind(), std::io::ErrorKind::ConnectionRefused, "{nobody}");
    let service: Value = ground.kubectl.json(&["-n", "production", "get", "service", "api-service"]);
    assert_eq!(service["spec"]["ports"][0]["name"], "http");
    assert_eq!(service["spec"]["sessionAffinity"], "None");
}

/// The addresses of a name, as a pod's resolver tells them.
#[track_caller]
pub fn resolved(ground: &Ground, namespace: &str, target: &str, name: &str) -> BTreeSet<String> {
    let output = ground.kubectl.run(&["-n", namespace, "exec", target, "--", "nslookup", "-type=a", name]);
    // The first address is the server's; those after the first `Name:` are the answer.
    let (_, answer) = output.stdout.split_once("Name:").unwrap_or_default();
    let addresses = answer.lines().filter_map(|line| line.trim().strip_prefix("Address")?.split_once(": "));
    addresses.map(|(_, address)| address.trim().to_owned()).collect()
}
