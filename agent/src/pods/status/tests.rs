//! Tables of what is told in which state.

use super::*;
use crate::pods::backoff::Backoff;
use crate::pods::fixtures::{at, container, ending, exited, pod, running, state};
use crate::pods::state::{Setup, Wait};
use coracle_runtime::State as RunState;
use serde_json::{Value, json};

fn node() -> Place<'static> {
    Place { node_ip: "10.0.0.1".parse().expect("an address"), runtime_scheme: "coracle" }
}

fn rendered(spec: &Value, state: &State) -> Value {
    let node = node();
    let status = render(&pod(spec.clone()), state, &node, &PodStatus::default(), at(12));
    serde_json::to_value(status).expect("is JSON")
}

fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let all = status["conditions"].as_array().expect("a list");
    all.iter().find(|c| c["type"] == kind).unwrap_or_else(|| panic!("no condition {kind}"))
}

/// `type=status/reason` of our four.
fn conditions(status: &Value) -> Vec<String> {
    let kinds = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"];
    let text = |c: &Value| format!("{}/{}", c["status"].as_str().unwrap_or("?"), c["reason"].as_str().unwrap_or(""));
    kinds.iter().map(|kind| text(condition(status, kind))).collect()
}

fn one() -> Value {
    json!({"containers": [{"name": "a"}]})
}

#[test]
fn a_new_pod() {
    let status = rendered(&one(), &State { started_at: Some(at(0)), ..State::default() });
    assert_eq!(status["phase"], "Pending");
    assert_eq!(status["containerStatuses"][0]["state"]["waiting"]["reason"], "ContainerCreating");
    assert_eq!(conditions(&status), ["False/", "True/", "False/ContainersNotReady", "False/ContainersNotReady"]);
    assert_eq!(condition(&status, "Ready")["message"], "containers with unready status: [a]");
    assert_eq!((&status["qosClass"], &status["hostIP"]), (&json!("BestEffort"), &json!("10.0.0.1")));
    assert_eq!(status["startTime"], "1970-01-01T00:00:00Z");
    assert!(status.get("podIP").is_none());
}

#[test]
fn a_running_pod() {
    let status = rendered(&one(), &state(vec![running("a", 2)]));
    assert_eq!(status["phase"], "Running");
    let container = &status["containerStatuses"][0];
    assert_eq!(container["state"]["running"]["startedAt"], "1970-01-01T00:00:01Z");
    assert_eq!(
        (&container["ready"], &container["started"], &container["restartCount"]),
        (&json!(true), &json!(true), &json!(2))
    );
    assert_eq!((&container["containerID"], &container["imageID"]), (&json!("coracle://a-2"), &json!("sha256:1")));
    assert_eq!(conditions(&status), ["True/", "True/", "True/", "True/"]);
    assert_eq!((&status["podIP"], &status["podIPs"][0]["ip"]), (&json!("10.1.0.5"), &json!("10.1.0.5")));
}

#[test]
fn readiness_and_startup() {
    let mut unready = state(vec![running("a", 0)]);
    unready.containers.get_mut("a").expect("is there").live.passes = false;
    let status = rendered(&one(), &unready);
    assert_eq!(
        (&status["containerStatuses"][0]["ready"], &status["containerStatuses"][0]["started"]),
        (&json!(false), &json!(true))
    );
    unready.containers.get_mut("a").expect("is there").live.startup_passed = false;
    assert_eq!(rendered(&one(), &unready)["containerStatuses"][0]["started"], false);
    assert_eq!(rendered(&one(), &unready)["phase"], "Running");
}

#[test]
fn phases_of_ended_containers() {
    let table = [
        ("Always", vec![exited("a", 0, 1)], "Running"),
        ("OnFailure", vec![exited("a", 0, 1)], "Running"),
        ("OnFailure", vec![exited("a", 0, 0)], "Succeeded"),
        ("Never", vec![exited("a", 0, 0)], "Succeeded"),
        ("Never", vec![exited("a", 0, 1)], "Failed"),
    ];
    for (policy, attempts, phase) in table {
        let spec = json!({"containers": [{"name": "a"}], "restartPolicy": policy});
        assert_eq!(rendered(&spec, &state(attempts))["phase"], phase, "{policy}");
    }
    let never = json!({"containers": [{"name": "a"}], "restartPolicy": "Never"});
    let done = rendered(&never, &state(vec![exited("a", 0, 0)]));
    assert_eq!(conditions(&done), ["True/", "True/PodCompleted", "False/PodCompleted", "False/PodCompleted"]);
    let failed = rendered(&never, &state(vec![exited("a", 0, 3)]));
    assert_eq!(conditions(&failed)[2..], ["False/PodFailed", "False/PodFailed"]);
    let two = json!({"containers": [{"name": "a"}, {"name": "b"}], "restartPolicy": "Never"});
    assert_eq!(rendered(&two, &state(vec![exited("a", 0, 1), running("b", 0)]))["phase"], "Running");
}

#[test]
fn a_container_that_keeps_failing() {
    let mut crashing = state(vec![exited("a", 0, 1), exited("a", 1, 2)]);
    crashing.containers.get_mut("a").expect("is there").backoff = Backoff::resumed(1, at(9));
    let status = rendered(&one(), &crashing);
    let container = &status["containerStatuses"][0];
    assert_eq!(container["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(container["state"]["waiting"]["message"], "back-off 10s restarting failed container=a pod=p_d(u)");
    assert_eq!(container["lastState"]["terminated"]["exitCode"], 2);
    assert_eq!(container["lastState"]["terminated"]["reason"], "Error");
    assert_eq!((&container["restartCount"], &container["ready"]), (&json!(1), &json!(false)));
    assert_eq!(status["phase"], "Running");
    let again = rendered(&one(), &state(vec![exited("a", 0, 1), running("a", 1)]));
    assert_eq!(again["containerStatuses"][0]["lastState"]["terminated"]["containerID"], "coracle://a-0");
}

#[test]
fn how_containers_end() {
    let ended = |started_at, exit_code, oom_killed, message: &str| RunState::Exited {
        started_at,
        finished_at: at(10),
        exit_code,
        signal: None,
        oom_killed,
        message: message.to_owned(),
    };
    let never = json!({"containers": [{"name": "a"}], "restartPolicy": "Never"});
    let table = [
        (ended(Some(at(1)), 0, false, ""), "Completed", Value::Null),
        (ended(Some(at(1)), 1, false, ""), "Error", Value::Null),
        (ended(Some(at(1)), 137, true, ""), "OOMKilled", Value::Null),
        (ended(None, 128, false, "no such file"), "ContainerCannotRun", json!("no such file")),
    ];
    for (run_state, reason, message) in table {
        let status = rendered(&never, &state(vec![container("a", 0, run_state)]));
        let terminated = &status["containerStatuses"][0]["state"]["terminated"];
        assert_eq!((&terminated["reason"], &terminated["message"]), (&json!(reason), &message), "{reason}");
        assert_eq!(terminated["finishedAt"], "1970-01-01T00:00:10Z");
    }
    let mut worded = state(vec![exited("a", 0, 1)]);
    let known = worded.containers.get_mut("a").expect("is there");
    known.messages.insert(coracle_runtime::ContainerId("a-0".into()), "last words".into());
    assert_eq!(rendered(&never, &worded)["containerStatuses"][0]["state"]["terminated"]["message"], "last words");
}

#[test]
fn what_could_not_be_made_says_why() {
    let mut pulling = state(vec![]);
    let later = Some((at(14), "ImagePullBackOff", "Back-off".to_owned()));
    let wait = Wait { reason: "ErrImagePull", message: "no route".into(), later, retry_at: at(22) };
    pulling.containers.entry("a".into()).or_default().wait = Some(wait);
    let waiting = |state: &State| rendered(&one(), state)["containerStatuses"][0]["state"]["waiting"].clone();
    assert_eq!(waiting(&pulling), json!({"reason": "ErrImagePull", "message": "no route"}));
    let known = pulling.containers.get_mut("a").expect("is there");
    known.wait.as_mut().expect("waits").later = Some((at(12), "ImagePullBackOff", "Back-off".to_owned()));
    assert_eq!(waiting(&pulling), json!({"reason": "ImagePullBackOff", "message": "Back-off"}));
    assert_eq!(rendered(&one(), &pulling)["phase"], "Pending");
}

#[test]
fn init_containers() {
    let spec = json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]});
    let status = rendered(&spec, &state(vec![running("i", 0)]));
    assert_eq!(status["phase"], "Pending");
    assert_eq!(status["containerStatuses"][0]["state"]["waiting"]["reason"], "PodInitializing");
    assert_eq!(condition(&status, "Initialized")["reason"], "ContainersNotInitialized");
    assert_eq!(condition(&status, "Initialized")["message"], "containers with incomplete status: [i]");
    let status = rendered(&spec, &state(vec![exited("i", 0, 0), running("a", 0)]));
    assert_eq!((&status["phase"], &status["initContainerStatuses"][0]["ready"]), (&json!("Running"), &json!(true)));
    assert_eq!(conditions(&status), ["True/", "True/", "True/", "True/"]);
    let mut never = spec;
    never["restartPolicy"] = json!("Never");
    assert_eq!(rendered(&never, &state(vec![exited("i", 0, 1)]))["phase"], "Failed");
}

#[test]
fn a_sidecar_counts_for_readiness() {
    let spec = json!({"initContainers": [{"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "a"}]});
    let status = rendered(&spec, &state(vec![running("s", 0), running("a", 0)]));
    assert_eq!(conditions(&status), ["True/", "True/", "True/", "True/"]);
    let mut unready = state(vec![running("s", 0), running("a", 0)]);
    unready.containers.get_mut("s").expect("is there").live.passes = false;
    assert_eq!(condition(&rendered(&spec, &unready), "Ready")["message"], "containers with unready status: [s]");
}

#[test]
fn readiness_gates_and_others_conditions() {
    let spec = json!({"containers": [{"name": "a"}], "readinessGates": [{"conditionType": "x.io/ok"}]});
    let ready = |gate: Option<&str>| {
        let mut conditions = vec![json!({"type": "PodScheduled", "status": "True"})];
        conditions.extend(gate.map(|status| json!({"type": "x.io/ok", "status": status})));
        let previous = serde_json::from_value(json!({"conditions": conditions})).expect("a status");
        let node = node();
        let status = render(&pod(spec.clone()), &state(vec![running("a", 0)]), &node, &previous, at(12));
        let status = serde_json::to_value(status).expect("is JSON");
        assert_eq!(condition(&status, "PodScheduled")["status"], "True");
        condition(&status, "Ready").clone()
    };
    assert_eq!(ready(None)["message"], "corresponding condition of pod readiness gate \"x.io/ok\" does not exist.");
    assert_eq!(ready(Some("False"))["reason"], "ReadinessGatesNotReady");
    assert_eq!(ready(Some("True"))["status"], "True");
}

#[test]
fn a_transition_time_stays_while_nothing_changes() {
    let node = node();
    let (pod, state) = (pod(one()), state(vec![running("a", 0)]));
    let first = render(&pod, &state, &node, &PodStatus::default(), at(12));
    let second = render(&pod, &state, &node, &first, at(99));
    assert_eq!(first, second);
}

#[test]
fn the_end() {
    let status = rendered(&one(), &ending(Why::Deleted, 30, vec![running("a", 0)]));
    assert_eq!((&status["phase"], conditions(&status)[2].as_str()), (&json!("Running"), "True/"));
    let status = rendered(&one(), &ending(Why::Deleted, 30, vec![exited("a", 0, 0)]));
    assert_eq!(status["phase"], "Succeeded");
    let status = rendered(&one(), &ending(Why::Deleted, 30, vec![exited("a", 0, 137)]));
    assert_eq!(status["phase"], "Failed");
    assert_eq!(status["containerStatuses"][0]["state"]["terminated"]["exitCode"], 137);
    let mut late = ending(Why::Deadline, 1, vec![exited("a", 0, 0)]);
    late.failure = failure_of(Why::Deadline);
    let status = rendered(&one(), &late);
    assert_eq!((&status["phase"], &status["reason"]), (&json!("Failed"), &json!("DeadlineExceeded")));
}

#[test]
fn an_address_that_was_is_still_shown() {
    let mut gone = state(vec![exited("a", 0, 0)]);
    gone.sandbox = Setup::Absent;
    let previous = PodStatus { pod_ip: Some("10.1.0.9".into()), ..PodStatus::default() };
    let status = render(&pod(one()), &gone, &node(), &previous, at(12));
    assert_eq!(status.pod_ip.as_deref(), Some("10.1.0.9"));
}
