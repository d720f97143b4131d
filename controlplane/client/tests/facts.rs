//! Projections read what the API stores.

use coracle_client::facts::{HostPort, Phase, PodFacts, Project};
use coracle_client::{Meta, NodeFacts};
use coracle_proto::{Object, Tree};
use serde_json::json;
use std::sync::Arc;

fn object(tree: &Tree) -> Object {
    Object { revision: 7, json: tree.to_string().into() }
}

fn pod(name: &str, spec: Tree) -> PodFacts {
    let tree = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "ns", "uid": "u1", "resourceVersion": "7", "labels": {"app": "web"},
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "annotations": {"controller.kubernetes.io/pod-deletion-cost": "-3", "q": "a \"quoted\" \u{1F6F6}"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "r1",
                "controller": true, "blockOwnerDeletion": true}],
        },
        "spec": spec,
        "status": {
            "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "hostIP": "10.9.9.9",
            "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T03:04:09Z"},
                {"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [{"name": "a", "restartCount": 2}, {"name": "b", "restartCount": 4}],
        },
    });
    PodFacts::project(&object(&tree)).expect("a good pod")
}

#[test]
fn a_pods_facts() {
    let facts = pod(
        "p",
        json!({
            "nodeName": "n", "priority": 5, "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "k", "operator": "Exists"}],
            "containers": [{"name": "a", "ports": [{"containerPort": 80, "hostPort": 8080, "protocol": "TCP"}]}],
            "schedulingGates": [{"name": "wait"}],
        }),
    );
    assert_eq!((facts.meta.namespace(), facts.meta.name(), facts.meta.revision), ("ns", "p", 7));
    assert!(facts.meta.is_controlled_by("r1"));
    assert_eq!((&*facts.node_name, facts.phase, facts.priority), ("n", Phase::Running, 5));
    assert!(facts.ready && facts.ready_since.is_some() && facts.unscheduled_reason.is_none());
    assert_eq!((facts.restarts, facts.deletion_cost), (4, -3));
    assert_eq!(&*facts.host_ports, &[HostPort { ip: "".into(), protocol: "TCP".into(), port: 8080 }]);
    assert_eq!(facts.constraints.node_selector["disk"], "ssd");
    assert_eq!(facts.constraints.tolerations.len(), 1);
    assert_eq!(facts.scored, (100, 200 << 20));
    assert_eq!(facts.scheduling_gates.len(), 1);
}

#[test]
fn requests_count_init_containers_sidecars_and_overhead() {
    let cpu = |amount: &str| json!({"requests": {"cpu": amount, "memory": "1Mi", "x.io/gpu": "1"}});
    let table = [
        (json!({"containers": [{"resources": cpu("100m")}, {"resources": cpu("200m")}]}), 300, 2),
        (json!({"containers": [{"resources": cpu("100m")}], "initContainers": [{"resources": cpu("1")}]}), 1000, 1),
        (
            json!({"containers": [{"resources": cpu("100m")}],
                   "initContainers": [{"resources": cpu("50m"), "restartPolicy": "Always"}, {"resources": cpu("90m")}]}),
            150,
            2,
        ),
        (json!({"containers": [{"resources": cpu("100m")}], "overhead": {"cpu": 1}}), 1100, 1),
    ];
    for (spec, milli_cpu, gpus) in table {
        let facts = pod("p", spec.clone());
        assert_eq!(facts.requests.milli_cpu, milli_cpu, "{spec}");
        assert_eq!(facts.requests.other("x.io/gpu"), gpus, "{spec}");
    }
}

#[test]
fn pods_of_a_workload_share_what_is_equal() {
    let spec = json!({"containers": [], "nodeSelector": {"a": "b"}});
    let (one, two, other) = (pod("1", spec.clone()), pod("2", spec), pod("3", json!({"containers": []})));
    assert!(Arc::ptr_eq(&one.constraints, &two.constraints));
    assert!(Arc::ptr_eq(&one.meta.labels, &two.meta.labels));
    assert!(Arc::ptr_eq(&one.meta.owners, &two.meta.owners));
    assert!(!Arc::ptr_eq(&one.constraints, &other.constraints));
}

#[test]
fn a_nodes_facts() {
    let tree = json!({
        "metadata": {"name": "n", "uid": "u"},
        "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}], "unschedulable": true},
        "status": {
            "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "10Gi"},
            "allocatable": {"cpu": "3900m", "memory": "7Gi", "pods": "100"},
            "conditions": [{"type": "Ready", "status": "True"}],
            "images": [{"names": ["busybox:1"], "sizeBytes": 5}],
        },
    });
    let facts = NodeFacts::project(&object(&tree)).expect("a good node");
    assert_eq!((facts.allocatable.milli_cpu, facts.allocatable.memory, facts.allocatable.pods), (3900, 7 << 30, 100));
    assert!(facts.is_ready() && facts.unschedulable);
    assert_eq!((&*facts.taints[0].key, facts.images[0].size_bytes), ("k", 5));
}

#[test]
fn unreadable_objects_are_errors() {
    for bad in ["", "[]", "{}", r#"{"metadata": 5}"#, r#"{"metadata": {"name": 5}}"#] {
        let object = Object { revision: 1, json: bad.to_owned().into() };
        assert!(Meta::project(&object).is_err(), "{bad}");
        assert!(PodFacts::project(&object).is_err(), "{bad}");
    }
}
