//! A rolling update and its undo under constant load, from the host and from a pod: no request may fail.

use coracle_tests::{Cluster, Kubectl, Need, can_run};
use serde_json::Value;
use std::process::{Child, Command, Stdio};

const MANIFEST: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: demo
        image: coracle/demo:v1
        ports: [{containerPort: 8080}]
        readinessProbe: {httpGet: {path: /ready, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  containers:
  - {name: client, image: "coracle/demo:v1"}
"#;

#[test]
fn no_request_fails_while_a_deployment_rolls_and_rolls_back() {
    if !can_run(&[Need::Root, Need::Kubectl]) {
        return;
    }
    let cluster = Cluster::up();
    let kubectl = cluster.kubectl();
    kubectl.apply(MANIFEST);
    rolled_out(&kubectl);
    kubectl.ok(&["wait", "--for=condition=Ready", "pod/client", "--timeout=60s"]);
    let address = kubectl.ok(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]);

    let from_host = start(&mut coracle_tests::coracle(&["load", &format!("{address}:80")]));
    let from_pod = start(&mut kubectl.command(&["exec", "-i", "client", "--", "/coracle", "load", "web:80"]));
    kubectl.ok(&["set", "image", "deployment/web", "demo=coracle/demo:v2"]);
    rolled_out(&kubectl);
    kubectl.ok(&["rollout", "undo", "deployment/web"]);
    rolled_out(&kubectl);
    for (what, child) in [("the host", from_host), ("a pod", from_pod)] {
        let tally = stop(child);
        assert_eq!(tally["failed"], 0, "from {what}: {tally}");
        assert!(tally["answered"].as_u64() > Some(100), "from {what}: {tally}");
        let bodies = tally["bodies"].as_object().expect("a map");
        assert!(["v1", "v2"].iter().all(|v| bodies.keys().any(|b| b.contains(v))), "from {what}: {tally}");
    }
}

fn rolled_out(kubectl: &Kubectl) {
    kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=120s"]);
}

fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the load starts")
}

/// Ends its input, which ends the load, and reads what it counted.
fn stop(mut child: Child) -> Value {
    drop(child.stdin.take());
    let output = child.wait_with_output().expect("the load ends");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8_lossy(&output.stdout)))
}
