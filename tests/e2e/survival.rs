//! What a kill -9 of the cluster's process, a stop and a start must not change.

use coracle_tests::{Cluster, Kubectl, Marks, Need, can_run, eventually};
use serde_json::Value;

/// What containers of the demo image run.
const DEMO: [&str; 2] = ["/coracle", "demo"];

fn status(kubectl: &Kubectl, pod: &str) -> Value {
    kubectl.json(&["get", "pod", pod])["status"]["containerStatuses"][0].clone()
}

#[test]
fn containers_objects_and_logs_survive_kills() {
    if !can_run(&[Need::Root, Need::Kubectl]) {
        return;
    }
    let cluster = Cluster::up();
    let kubectl = cluster.kubectl();
    kubectl.ok(&["run", "demo", "--image=coracle/demo:v1"]);
    kubectl.ok(&["wait", "--for=condition=Ready", "pod/demo", "--timeout=60s"]);
    let before = status(&kubectl, "demo");
    let uid = kubectl.ok(&["get", "pod", "demo", "-o", "jsonpath={.metadata.uid}"]);
    let log = eventually("the log has a line", || kubectl.run(&["logs", "demo"]).when(|t| !t.is_empty()));
    for round in 0..3 {
        kubectl.ok(&["create", "configmap", &format!("round-{round}"), "--from-literal=a=b"]);
        cluster.kill();
        cluster.start();
        for earlier in 0..=round {
            kubectl.ok(&["get", "configmap", &format!("round-{earlier}")]);
        }
        let after = status(&kubectl, "demo");
        assert_eq!(after["containerID"], before["containerID"], "round {round}");
        assert_eq!(after["restartCount"], before["restartCount"], "round {round}");
        assert_eq!(after["state"], before["state"], "round {round}");
        assert_eq!(kubectl.ok(&["get", "pod", "demo", "-o", "jsonpath={.metadata.uid}"]), uid);
        assert!(kubectl.ok(&["logs", "demo"]).starts_with(&log), "round {round}: the log lost its beginning");
        assert_eq!(kubectl.run(&["exec", "demo", "--", "/coracle", "--version"]).code, Some(0), "round {round}");
    }
}

#[test]
fn a_crash_while_the_agent_was_away_is_noticed() {
    if !can_run(&[Need::Root, Need::Kubectl]) {
        return;
    }
    let cluster = Cluster::up();
    let kubectl = cluster.kubectl();
    kubectl.ok(&["run", "demo", "--image=coracle/demo:v1"]);
    kubectl.ok(&["wait", "--for=condition=Ready", "pod/demo", "--timeout=60s"]);
    cluster.kill();
    let demo = Marks::of(&cluster).running(&DEMO);
    assert_eq!(demo.len(), 1, "{demo:?}");
    let pid = rustix::process::Pid::from_raw(demo[0]).expect("a process id");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    cluster.start();
    eventually("the container is restarted", || {
        let status = status(&kubectl, "demo");
        if status["restartCount"] == 1 && status["ready"] == true { Ok(()) } else { Err(status) }
    });
    assert_eq!(status(&kubectl, "demo")["lastState"]["terminated"]["exitCode"], 137);
}

#[test]
fn down_and_up_again_bring_everything_back() {
    if !can_run(&[Need::Root, Need::Kubectl]) {
        return;
    }
    let cluster = Cluster::up();
    let kubectl = cluster.kubectl();
    kubectl.ok(&["create", "deployment", "web", "--image=coracle/demo:v1", "--replicas=2"]);
    kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    cluster.down(&[]);
    assert!(Marks::of(&cluster).running(&DEMO).is_empty());
    cluster.start();
    kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    eventually("both pods run again", || {
        kubectl.run(&["get", "pods", "--no-headers"]).when(|t| t.lines().filter(|l| l.contains("Running")).count() == 2)
    });
}
