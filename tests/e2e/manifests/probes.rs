//! Probes: restarts and the removal of endpoints at the thresholds that the manifests state, not before.

use crate::ground::{Ground, ground, is_ready};
use coracle_tests::{Manifest, eventually};
use serde_json::Value;

const CONTAINER: &str = "/spec/template/spec/containers/0";

/// The document's probes in the document's Deployment, with one pod.
fn checked() -> Manifest {
    Manifest::of("001/basic-deployment.yaml")
        .with("/spec/replicas", 1)
        .with_fragment(CONTAINER, "001/health-checks.yaml")
}

/// Delays and periods of a second; thresholds as they stand.
fn hurried(manifest: Manifest) -> Manifest {
    ["livenessProbe", "readinessProbe"].iter().fold(manifest, |manifest, probe| {
        let at = |field: &str| format!("{CONTAINER}/{probe}/{field}");
        manifest.with(&at("initialDelaySeconds"), 1).with(&at("periodSeconds"), 1)
    })
}

fn seconds(from: &Value, to: &Value) -> i64 {
    let parse = |value: &Value| {
        let text = value.as_str().expect("a time");
        let part = |range: std::ops::Range<usize>| text[range].parse::<i64>().expect("a number");
        part(8..10) * 86_400 + part(11..13) * 3600 + part(14..16) * 60 + part(17..19)
    };
    parse(to) - parse(from)
}

fn condition<'a>(pod: &'a Value, kind: &str) -> &'a Value {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().find(|c| c["type"] == kind).unwrap_or(&Value::Null)
}

#[track_caller]
fn only_pod(ground: &Ground) -> Value {
    let pods = ground.pods("default", "app=user-service");
    assert_eq!(pods.len(), 1, "{pods:?}");
    pods.into_iter().next().expect("there is one")
}

fn failures(ground: &Ground, kind: &str) -> u64 {
    let list = ground.kubectl.json(&["get", "events", "--field-selector", "reason=Unhealthy"]);
    let events = list["items"].as_array().cloned().unwrap_or_default();
    let about = events.iter().filter(|e| e["message"].as_str().is_some_and(|m| m.starts_with(kind)));
    about.map(|e| e["count"].as_u64().unwrap_or(1)).sum()
}

#[test]
fn a_pod_is_ready_after_the_readiness_probe_s_delay() {
    let Some(ground) = ground(&[]) else { return };
    checked().apply(&ground.kubectl);
    ground.rolled_out("default", "user-service");
    let pod = only_pod(&ground);
    let started = &pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"];
    let waited = seconds(started, &condition(&pod, "Ready")["lastTransitionTime"]);
    // Times are whole seconds, so one may be lost by rounding.
    assert!(waited >= 4, "Ready after {waited} s, though the first probe may come after 5: {pod}");
    assert_eq!(failures(&ground, "Readiness"), 0);
}

#[test]
fn three_failed_liveness_probes_restart_the_container_and_only_it() {
    let Some(ground) = ground(&[]) else { return };
    hurried(checked()).apply(&ground.kubectl);
    ground.rolled_out("default", "user-service");
    let before = only_pod(&ground);
    ground.exec("default", "deployment/user-service", &["rm", "/www/health"]);
    let after = eventually("the container has been restarted", || {
        let pod = only_pod(&ground);
        if pod["status"]["containerStatuses"][0]["restartCount"] == 1 && is_ready(&pod) { Ok(pod) } else { Err(pod) }
    });
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(after["status"]["podIP"], before["status"]["podIP"]);
    assert!(!after["status"]["containerStatuses"][0]["lastState"]["terminated"].is_null(), "{after}");
    ground.told("default", "Killing", |event| {
        event["message"] == "Container user-service failed liveness probe, will be restarted"
    });
    let unhealthy = ground.told("default", "Unhealthy", |event| event["count"] == 3);
    assert_eq!(unhealthy["message"], "Liveness probe failed: HTTP probe failed with statuscode: 404");
    // The new container has its files again, so nothing more fails.
    assert_eq!(failures(&ground, "Liveness"), 3);
}

#[test]
fn three_failed_readiness_probes_take_the_endpoint_away_and_one_that_passes_brings_it_back() {
    let Some(ground) = ground(&[]) else { return };
    hurried(checked()).apply(&ground.kubectl);
    Manifest::of("001/cluster-ip.yaml").apply(&ground.kubectl);
    ground.rolled_out("default", "user-service");
    let address = ground.service("default", "user-service");
    let answers = || coracle_tests::fetch(&address, "/");
    eventually("the Service answers", answers);
    ground.exec("default", "deployment/user-service", &["mv", "/www/ready", "/www/aside"]);
    eventually("nobody is behind the Service", || match answers() {
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => Ok(()),
        other => Err(other),
    });
    assert!(failures(&ground, "Readiness") >= 3, "it went before the threshold");
    let slices = ground.kubectl.json(&["get", "endpointslices", "-l", "kubernetes.io/service-name=user-service"]);
    assert_eq!(slices["items"][0]["endpoints"][0]["conditions"]["ready"], false, "{slices}");
    let pod = only_pod(&ground);
    assert_eq!(condition(&pod, "ContainersReady")["reason"], "ContainersNotReady", "{pod}");
    assert_eq!(condition(&pod, "Ready")["message"], "containers with unready status: [user-service]");

    ground.exec("default", "deployment/user-service", &["mv", "/www/aside", "/www/ready"]);
    eventually("the Service answers again", answers);
    assert_eq!(only_pod(&ground)["status"]["containerStatuses"][0]["restartCount"], 0);
}

#[test]
fn the_other_probes_wait_for_the_startup_probe() {
    let Some(ground) = ground(&["production"]) else { return };
    Manifest::of("003/service-account.yaml").apply(&ground.kubectl);
    Manifest::of("003/secret.yaml").apply(&ground.kubectl);
    Manifest::of("overlays/003-production-deployment/api-config.yaml").apply(&ground.kubectl);
    let at = |field: &str| format!("{CONTAINER}/{field}");
    // Its probes ask each second and its application is slow: the health page appears when the test says so.
    Manifest::of("003/production-deployment.yaml")
        .with("/spec/replicas", 1)
        .with(&at("command"), ["sh", "-c", "rm /www/health; exec serve"].as_slice())
        .with(&at("startupProbe/periodSeconds"), 1)
        .with(&at("livenessProbe/initialDelaySeconds"), 0)
        .with(&at("livenessProbe/periodSeconds"), 1)
        .with(&at("readinessProbe/initialDelaySeconds"), 0)
        .with(&at("readinessProbe/periodSeconds"), 1)
        .apply(&ground.kubectl);
    let status = || {
        let pods = ground.pods("production", "app=api-service");
        pods.first().map_or(Value::Null, |pod| pod["status"]["containerStatuses"][0].clone())
    };
    ground.told("production", "Unhealthy", |event| {
        // More than the three failures that would be enough for the liveness probe.
        let startup = event["message"] == "Startup probe failed: HTTP probe failed with statuscode: 404";
        startup && event["count"].as_u64() >= Some(5)
    });
    let waiting = status();
    assert_eq!((&waiting["started"], &waiting["ready"]), (&false.into(), &false.into()), "{waiting}");
    ground.exec("production", "deployment/api-service", &["cp", "/www/ready", "/www/health"]);
    ground.rolled_out("production", "api-service");
    let started = status();
    assert_eq!((&started["started"], &started["restartCount"]), (&true.into(), &0.into()), "{started}");
}
