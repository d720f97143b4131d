//! Every `kubectl` of the machine, command by command, against a real cluster.

use coracle_tests::{Cluster, Kubectl, Need, can_run, eventually, versions};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

/// Runs `lesson` once for each version, each time in a namespace of its own.
fn with_each_version(name: &str, lesson: fn(&Kubectl, &str)) {
    if !can_run(&[Need::Root, Need::Kubectl]) {
        return;
    }
    let cluster = Cluster::up();
    for (at, program) in versions().into_iter().enumerate() {
        let kubectl = cluster.kubectl().with_program(&program);
        let namespace = format!("{name}-{at}");
        kubectl.ok(&["create", "namespace", &namespace]);
        eprintln!("{}", program.display());
        lesson(&kubectl, &namespace);
        kubectl.ok(&["delete", "namespace", &namespace, "--wait=false"]);
    }
}

const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: demo
        image: coracle/demo:v1
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /ready, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: http}]
"#;

#[test]
fn the_api_is_discovered() {
    with_each_version("discover", |kubectl, _| {
        assert!(kubectl.ok(&["version"]).contains("v1.33.0+coracle"));
        let resources = kubectl.ok(&["api-resources"]);
        for row in ["deployments", "deploy", "apps/v1", "configmaps", "cm", "coordination.k8s.io/v1"] {
            assert!(resources.contains(row), "{row} is missing in:\n{resources}");
        }
        let versions = kubectl.ok(&["api-versions"]);
        assert!(versions.lines().any(|l| l == "apps/v1") && versions.lines().any(|l| l == "v1"), "{versions}");
        assert!(kubectl.ok(&["cluster-info"]).contains("control plane"));
        let explained = kubectl.ok(&["explain", "deployment.spec.strategy.rollingUpdate.maxSurge"]);
        assert!(explained.contains("maxSurge") && explained.contains("maximum number of pods"), "{explained}");
        assert!(kubectl.run(&["explain", "pod.spec.nonsense"]).refused().contains("nonsense"));
    });
}

#[test]
fn objects_are_created_read_changed_and_deleted() {
    with_each_version("crud", |kubectl, ns| {
        let run = |args: &[&str]| kubectl.run(&[&["-n", ns], args].concat());
        let ok = |args: &[&str]| run(args).succeeded().stdout;
        ok(&["create", "configmap", "c", "--from-literal=a=1"]);
        assert!(run(&["create", "configmap", "c"]).refused().contains(r#"configmaps "c" already exists"#));
        ok(&["create", "secret", "generic", "s", "--from-literal=password=hunter2"]);
        assert_eq!(ok(&["get", "secret", "s", "-o", "jsonpath={.data.password}"]), "aHVudGVyMg==");
        assert!(!ok(&["describe", "secret", "s"]).contains("hunter2"));
        assert!(run(&["get", "configmap", "nobody"]).refused().contains(r#"configmaps "nobody" not found"#));

        ok(&["label", "configmap", "c", "tier=gold"]);
        ok(&["annotate", "configmap", "c", "note=hello"]);
        assert!(ok(&["get", "configmap", "-l", "tier=gold", "-o", "name"]).contains("configmap/c"));
        assert_eq!(ok(&["get", "configmap", "-l", "tier!=gold,tier", "-o", "name"]), "");
        assert!(ok(&["get", "configmap", "--field-selector", "metadata.name=c"]).contains("c "));
        assert!(kubectl.ok(&["get", "configmap", "-A"]).contains(ns));

        ok(&["patch", "configmap", "c", "--type", "merge", "-p", r#"{"data":{"b":"2"}}"#]);
        ok(&["patch", "configmap", "c", "--type", "json", "-p", r#"[{"op":"replace","path":"/data/a","value":"9"}]"#]);
        ok(&["patch", "configmap", "c", "-p", r#"{"data":{"c":"3"}}"#]);
        let data = ok(&["get", "configmap", "c", "-o", "json"]);
        let data: Value = serde_json::from_str(&data).expect("JSON");
        assert_eq!(data["data"], json!({"a": "9", "b": "2", "c": "3"}));

        let mut edit = kubectl.command(&["-n", ns, "edit", "configmap", "c"]);
        let edited = edit.env("KUBE_EDITOR", "sed -i 's/\"9\"/\"10\"/'").output().expect("kubectl starts");
        assert!(edited.status.success(), "{}", String::from_utf8_lossy(&edited.stderr));
        assert_eq!(ok(&["get", "configmap", "c", "-o", "jsonpath={.data.a}"]), "10");

        let text = ok(&["get", "configmap", "c", "-o", "yaml"]).replace("\"10\"", "\"11\"");
        kubectl.run_with_input(&["replace", "-f", "-"], &text).succeeded();
        let stale = kubectl.run_with_input(&["replace", "-f", "-"], &text).refused();
        assert!(stale.contains("the object has been modified"), "{stale}");

        for form in ["wide", "yaml", "json", "name", "jsonpath={.metadata.uid}", "custom-columns=N:.metadata.name"] {
            assert!(!ok(&["get", "configmap", "c", "-o", form]).is_empty(), "{form}");
        }
        let table = ok(&["get", "configmap", "c"]);
        let words: Vec<&str> = table.split_whitespace().take(5).collect();
        assert_eq!(words, ["NAME", "DATA", "AGE", "c", "3"]);

        ok(&[
            "patch",
            "configmap",
            "c",
            "--type",
            "merge",
            "-p",
            r#"{"metadata":{"finalizers":["example.com/wait"]}}"#,
        ]);
        ok(&["delete", "configmap", "c", "--wait=false"]);
        assert!(!ok(&["get", "configmap", "c", "-o", "jsonpath={.metadata.deletionTimestamp}"]).is_empty());
        ok(&["patch", "configmap", "c", "--type", "merge", "-p", r#"{"metadata":{"finalizers":null}}"#]);
        assert!(run(&["get", "configmap", "c"]).refused().contains("not found"));
    });
}

#[test]
fn manifests_are_applied_and_diffed() {
    with_each_version("apply", |kubectl, ns| {
        let apply = |text: &str| kubectl.run_with_input(&["-n", ns, "apply", "-f", "-"], text);
        let created = apply(WEB).succeeded().stdout;
        assert!(
            created.contains("deployment.apps/web created") && created.contains("service/web created"),
            "{created}"
        );
        let again = apply(WEB).succeeded().stdout;
        assert!(again.contains("deployment.apps/web unchanged"), "{again}");
        let changed = WEB.replace("replicas: 2", "replicas: 1");
        let diff = kubectl.run_with_input(&["-n", ns, "diff", "-f", "-"], &changed);
        assert_eq!(diff.code, Some(1), "{diff:?}");
        assert!(diff.stdout.contains("-  replicas: 2") && diff.stdout.contains("+  replicas: 1"), "{}", diff.stdout);
        assert!(apply(&changed).succeeded().stdout.contains("deployment.apps/web configured"));
        assert_eq!(kubectl.ok(&["-n", ns, "get", "deploy", "web", "-o", "jsonpath={.spec.replicas}"]), "1");
        let dry = kubectl.run_with_input(&["-n", ns, "apply", "--dry-run=server", "-f", "-"], WEB).succeeded().stdout;
        assert!(dry.contains("(server dry run)"), "{dry}");
        assert_eq!(kubectl.ok(&["-n", ns, "get", "deploy", "web", "-o", "jsonpath={.spec.replicas}"]), "1");

        let unknown = apply(&WEB.replace("terminationGracePeriodSeconds", "terminationGraceperiod")).refused();
        assert!(unknown.contains("terminationGraceperiod"), "{unknown}");
        let selector = apply(&WEB.replace("selector: {matchLabels: {app: web}}", "")).refused();
        assert!(selector.contains("spec.selector: Required value"), "{selector}");
        let mismatch = WEB.replace("metadata: {labels: {app: web}}", "metadata: {labels: {app: other}}");
        let mismatch = apply(&mismatch.replace("name: web\n", "name: other\n")).refused();
        assert!(mismatch.contains("`selector` does not match template `labels`"), "{mismatch}");

        let server_side = kubectl.run_with_input(&["-n", ns, "apply", "--server-side", "-f", "-"], WEB).refused();
        assert!(!server_side.is_empty());
        assert!(!kubectl.run(&["top", "pods", "-n", ns]).refused().is_empty());
    });
}

#[test]
fn deployments_roll() {
    with_each_version("roll", |kubectl, ns| {
        let run = |args: &[&str]| kubectl.run(&[&["-n", ns], args].concat());
        let ok = |args: &[&str]| run(args).succeeded().stdout;
        kubectl.run_with_input(&["-n", ns, "apply", "-f", "-"], WEB).succeeded();
        let status = |what: &str| {
            let text = ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
            assert!(text.contains("successfully rolled out"), "{what}: {text}");
        };
        status("first");
        ok(&["wait", "--for=condition=Available", "deployment/web", "--timeout=60s"]);
        ok(&["set", "image", "deployment/web", "demo=coracle/demo:v2"]);
        status("v2");
        let image = || ok(&["get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}"]);
        assert_eq!(image(), "coracle/demo:v2");
        let history = ok(&["rollout", "history", "deployment/web"]);
        assert!(history.contains("1 ") && history.contains("2 "), "{history}");
        ok(&["rollout", "undo", "deployment/web"]);
        status("undone");
        assert_eq!(image(), "coracle/demo:v1");
        ok(&["rollout", "pause", "deployment/web"]);
        ok(&["set", "image", "deployment/web", "demo=coracle/demo:v2"]);
        assert!(run(&["rollout", "restart", "deployment/web"]).refused().contains("paused"));
        ok(&["rollout", "resume", "deployment/web"]);
        status("resumed");
        ok(&["rollout", "restart", "deployment/web"]);
        status("restarted");

        let wrong = run(&["scale", "deployment/web", "--current-replicas=5", "--replicas=1"]).refused();
        assert!(wrong.to_lowercase().contains("expected replicas to be 5, was 2"), "{wrong}");
        ok(&["scale", "deployment/web", "--current-replicas=2", "--replicas=1"]);
        eventually("one pod is left", || run(&["get", "pods", "-o", "name"]).when(|t| t.lines().count() == 1));
        let described = ok(&["describe", "deployment", "web"]);
        assert!(described.contains("ScalingReplicaSet") && described.contains("RollingUpdateStrategy"), "{described}");
        ok(&["delete", "deployment", "web", "--cascade=orphan"]);
        assert!(ok(&["get", "rs", "-o", "name"]).contains("replicaset.apps/web-"));
    });
}

#[test]
fn pods_are_talked_to() {
    with_each_version("talk", |kubectl, ns| {
        let run = |args: &[&str]| kubectl.run(&[&["-n", ns], args].concat());
        let ok = |args: &[&str]| run(args).succeeded().stdout;
        ok(&["run", "demo", "--image=coracle/demo:v1"]);
        ok(&["wait", "--for=condition=Ready", "pod/demo", "--timeout=60s"]);
        let described = ok(&["describe", "pod", "demo"]);
        for part in ["Scheduled", "Pulled", "Created", "Started", "Status:", "Running", "BestEffort"] {
            assert!(described.contains(part), "{part} is missing in:\n{described}");
        }
        assert!(ok(&["events", "--for", "pod/demo"]).contains("Started"));
        assert!(ok(&["get", "events"]).contains("Started"));

        assert!(ok(&["exec", "demo", "--", "/coracle", "--version"]).starts_with("coracle "));
        assert_eq!(run(&["exec", "demo", "--", "/coracle", "no-such-command"]).code, Some(2));
        let missing = run(&["exec", "demo", "--", "/no/such/file"]).refused();
        assert!(missing.contains("no such file"), "{missing}");

        eventually("the log has a line", || run(&["logs", "demo"]).when(|t| !t.is_empty()));
        assert_eq!(ok(&["logs", "demo", "--tail=1"]).lines().count(), 1);
        let stamped = ok(&["logs", "demo", "--timestamps", "--tail=1"]);
        assert!(stamped.starts_with("20"), "{stamped}");
        assert!(run(&["logs", "demo", "-p"]).refused().contains("previous terminated container"), "no previous one");
        assert!(run(&["logs", "demo", "-c", "x"]).refused().contains("container x is not valid for pod demo"));
        forwards(kubectl, ns);
        ok(&["delete", "pod", "demo", "--grace-period=1"]);
        assert!(run(&["get", "pod", "demo"]).refused().contains("not found"));
    });
}

fn forwards(kubectl: &Kubectl, ns: &str) {
    let mut command = kubectl.command(&["-n", ns, "port-forward", "pod/demo", ":8080"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("kubectl starts");
    let mut line = String::new();
    // Kept open: it goes on to say what it handles, and would end if nobody could hear it.
    let mut said = BufReader::new(child.stdout.take().expect("piped"));
    said.read_line(&mut line).expect("it says where");
    // "Forwarding from 127.0.0.1:40001 -> 8080"
    let address = line.split_whitespace().nth(2).unwrap_or_default().to_owned();
    for _ in 0..3 {
        let mut stream = std::net::TcpStream::connect(&address).unwrap_or_else(|e| panic!("{line:?}: {e}"));
        write!(stream, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    child.kill().expect("stopped");
    child.wait().expect("ended");
}

#[test]
fn a_watch_shows_changes() {
    with_each_version("watch", |kubectl, ns| {
        let mut command = kubectl.command(&["-n", ns, "get", "configmap", "-w", "--no-headers"]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("kubectl starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
        kubectl.ok(&["-n", ns, "create", "configmap", "seen"]);
        assert!(lines.any(|line| line.starts_with("seen ")));
        child.kill().expect("stopped");
        child.wait().expect("ended");
    });
}

#[test]
fn a_node_is_cordoned_and_drained() {
    if !can_run(&[Need::Root, Need::Kubectl]) {
        return;
    }
    let cluster = Cluster::up();
    let kubectl = cluster.kubectl();
    let node = kubectl.ok(&["get", "node", "-o", "jsonpath={.items[0].metadata.name}"]);
    kubectl.apply(WEB);
    kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    kubectl.ok(&["drain", &node, "--ignore-daemonsets", "--timeout=60s"]);
    assert!(kubectl.ok(&["get", "nodes"]).contains("Ready,SchedulingDisabled"));
    eventually("the new pods wait", || {
        kubectl.run(&["get", "events"]).when(|t| t.contains("0/1 nodes are available: 1 node(s) were unschedulable."))
    });
    kubectl.ok(&["uncordon", &node]);
    kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
}
