//! How `kubectl get pods` shows a pod: upstream's `printPod`.

use super::super::table::{human_duration, name_cell};
use super::{Column, Tree};
use crate::resources::{age, column, wide};
use crate::validate::{int, items, text};
use coracle_proto::{meta, time};
use jiff::Timestamp;
use serde_json::Value;

pub static COLUMNS: [Column; 9] = [
    column("Name", "string", "Name must be unique within a namespace."),
    column("Ready", "string", "The aggregate readiness state of this pod for accepting traffic."),
    column("Status", "string", "The aggregate status of the containers in this pod."),
    column(
        "Restarts",
        "string",
        "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
    ),
    column("Age", "string", "Time since creation."),
    wide("IP", "string", "The pod's address."),
    wide("Node", "string", "The node the pod is on."),
    wide("Nominated Node", "string", "The node other pods make room on for this one."),
    wide("Readiness Gates", "string", "Conditions beside the containers' that the pod waits for."),
];

/// What the rows show of all containers together.
struct Summary {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

pub fn row(pod: &Tree, now: Timestamp) -> Vec<Value> {
    let summary = summarise(pod);
    let status = &pod["status"];
    let or_none = |value: &str| Value::from(if value.is_empty() { "<none>" } else { value });
    let ip = items(status, "podIPs").first().map_or(text(status, "podIP"), |ip| text(ip, "ip"));
    let restarts = match summary.last_restart.filter(|_| summary.restarts > 0) {
        Some(at) => {
            let ago = human_duration(now.as_second().saturating_sub(at.as_second()));
            format!("{} ({ago} ago)", summary.restarts)
        }
        None => summary.restarts.to_string(),
    };
    vec![
        name_cell(pod),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.reason.into(),
        restarts.into(),
        age(pod, now),
        or_none(ip),
        or_none(text(&pod["spec"], "nodeName")),
        or_none(text(status, "nominatedNodeName")),
        gates(pod).into(),
    ]
}

fn condition<'a>(pod: &'a Tree, kind: &str) -> Option<&'a Tree> {
    items(&pod["status"], "conditions").iter().find(|c| text(c, "type") == kind)
}

fn gates(pod: &Tree) -> String {
    let gates = items(&pod["spec"], "readinessGates");
    if gates.is_empty() {
        return "<none>".into();
    }
    let met = |gate: &&Tree| condition(pod, text(gate, "conditionType")).is_some_and(|c| text(c, "status") == "True");
    format!("{}/{}", gates.iter().filter(met).count(), gates.len())
}

fn is_sidecar(pod: &Tree, name: &str) -> bool {
    let mut containers = items(&pod["spec"], "initContainers").iter();
    containers.any(|c| text(c, "name") == name && text(c, "restartPolicy") == "Always")
}

fn finished_at(status: &Tree) -> Option<Timestamp> {
    time::parse(text(&status["lastState"]["terminated"], "finishedAt"))
}

fn summarise(pod: &Tree) -> Summary {
    let status = &pod["status"];
    let sidecars = items(&pod["spec"], "initContainers").iter().filter(|c| text(c, "restartPolicy") == "Always");
    let mut summary = Summary {
        reason: match text(status, "reason") {
            "" => text(status, "phase").into(),
            reason => reason.into(),
        },
        ready: 0,
        total: items(&pod["spec"], "containers").len() + sidecars.count(),
        restarts: 0,
        last_restart: None,
    };
    if condition(pod, "PodScheduled").is_some_and(|c| text(c, "reason") == "SchedulingGated") {
        summary.reason = "SchedulingGated".into();
    }
    if !init_containers(pod, &mut summary) || condition(pod, "Initialized").is_some_and(|c| text(c, "status") == "True")
    {
        containers(pod, &mut summary);
    }
    if meta::is_deleting(pod) {
        if text(status, "reason") == "NodeLost" {
            summary.reason = "Unknown".into();
        } else if !matches!(text(status, "phase"), "Failed" | "Succeeded") {
            summary.reason = "Terminating".into();
        }
    }
    summary
}

/// The reason a state gives, e.g. `CrashLoopBackOff`, `Completed`, `ExitCode:1`.
fn terminated(state: &Tree) -> String {
    match (text(state, "reason"), int(state, "signal")) {
        ("", 0) => format!("ExitCode:{}", int(state, "exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.into(),
    }
}

/// Whether the pod is still initialising.
fn init_containers(pod: &Tree, summary: &mut Summary) -> bool {
    let statuses = items(&pod["status"], "initContainerStatuses");
    let count = items(&pod["spec"], "initContainers").len();
    let mut sidecar_restarts = (0, None);
    for (at, status) in statuses.iter().enumerate() {
        let restarts = int(status, "restartCount");
        summary.restarts += restarts;
        summary.last_restart = summary.last_restart.max(finished_at(status));
        let sidecar = is_sidecar(pod, text(status, "name"));
        if sidecar {
            sidecar_restarts.0 += restarts;
            sidecar_restarts.1 = sidecar_restarts.1.max(finished_at(status));
        }
        let (state, waiting) = (&status["state"], text(&status["state"]["waiting"], "reason"));
        if state["terminated"].is_object() && int(&state["terminated"], "exitCode") == 0 {
            continue;
        }
        if sidecar && status["started"] == true {
            summary.ready += usize::from(status["ready"] == true);
            continue;
        }
        summary.reason = if state["terminated"].is_object() {
            format!("Init:{}", terminated(&state["terminated"]))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{at}/{count}")
        };
        return true;
    }
    // Once the regular containers run, only theirs and the sidecars' restarts count.
    (summary.restarts, summary.last_restart) = sidecar_restarts;
    false
}

fn containers(pod: &Tree, summary: &mut Summary) {
    let mut running = false;
    for status in items(&pod["status"], "containerStatuses").iter().rev() {
        summary.restarts += int(status, "restartCount");
        summary.last_restart = summary.last_restart.max(finished_at(status));
        let state = &status["state"];
        let waiting = text(&state["waiting"], "reason");
        if !waiting.is_empty() {
            summary.reason = waiting.into();
        } else if state["terminated"].is_object() {
            summary.reason = terminated(&state["terminated"]);
        } else if status["ready"] == true && state["running"].is_object() {
            running = true;
            summary.ready += 1;
        }
    }
    // One container done, another still running: the pod runs.
    if summary.reason == "Completed" && running {
        let ready = condition(pod, "Ready").is_some_and(|c| text(c, "status") == "True");
        summary.reason = if ready { "Running" } else { "NotReady" }.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status_of(pod: &Tree) -> (String, String, String) {
        let row = row(pod, time::parse("2026-01-01T00:10:00Z").expect("valid"));
        let cell = |at: usize| row[at].as_str().unwrap_or_default().to_owned();
        (cell(1), cell(2), cell(3))
    }

    #[test]
    fn the_status_column_is_upstreams() {
        let spec = json!({"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]});
        let running = json!({"name": "a", "ready": true, "state": {"running": {}}, "restartCount": 0});
        let crash = json!({"name": "b", "ready": false, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"finishedAt": "2026-01-01T00:09:00Z"}}, "restartCount": 3});
        let done =
            json!({"name": "b", "ready": false, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
        let failed = json!({"name": "b", "state": {"terminated": {"exitCode": 2}}});
        let init_done = json!([{"name": "i", "state": {"terminated": {"exitCode": 0}}}]);
        let table = [
            (json!({"phase": "Pending"}), ("0/2", "Pending", "0")),
            (
                json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}),
                ("0/2", "Init:0/1", "0"),
            ),
            (
                json!({"phase": "Pending", "initContainerStatuses":
                    [{"name": "i", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}, "restartCount": 2}]}),
                ("0/2", "Init:Error", "2"),
            ),
            (
                json!({"phase": "Running", "initContainerStatuses": init_done, "containerStatuses": [running, crash]}),
                ("1/2", "CrashLoopBackOff", "3 (60s ago)"),
            ),
            (
                json!({"phase": "Running", "containerStatuses": [running, done],
                    "conditions": [{"type": "Ready", "status": "True"}]}),
                ("1/2", "Running", "0"),
            ),
            (json!({"phase": "Running", "containerStatuses": [running, failed]}), ("1/2", "ExitCode:2", "0")),
            (json!({"phase": "Failed", "reason": "Evicted"}), ("0/2", "Evicted", "0")),
        ];
        for (status, (ready, reason, restarts)) in table {
            let pod = json!({"metadata": {"name": "p"}, "spec": spec, "status": status});
            assert_eq!(status_of(&pod), (ready.into(), reason.into(), restarts.into()), "{status}");
        }
    }

    #[test]
    fn a_pod_being_deleted_terminates() {
        let mut pod = json!({"metadata": {"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"containers": [{"name": "a"}]}, "status": {"phase": "Running"}});
        assert_eq!(status_of(&pod).1, "Terminating");
        pod["status"]["phase"] = "Succeeded".into();
        assert_eq!(status_of(&pod).1, "Succeeded");
    }
}
