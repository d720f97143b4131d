//! Containers outlive the agent, and the node outlives the control plane.

use crate::ground::{Ground, ground, is_ready};
use coracle_runtime::State;
use serde_json::{Value, json};
use std::time::Duration;

const FOREVER: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

async fn pid(ground: &Ground, pod: &str) -> Option<i32> {
    let containers = ground.runtime.containers().await.expect("a list");
    containers.into_iter().find_map(|c| match c.state {
        State::Running { pid, .. } if c.pod.name == pod => Some(pid),
        _ => None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn running_containers_are_adopted_and_orphans_removed() {
    let Some(mut ground) = ground().await else { return };
    for name in ["stays", "orphan"] {
        ground.run(name, json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "sh": FOREVER}]}));
    }
    let before = ground.pod("stays", is_ready).await;
    ground.pod("orphan", is_ready).await;
    let first = pid(&ground, "stays").await.expect("runs");
    ground.stop_agent().await;
    ground.control.delete("pods", "default", "orphan");
    ground.start_agent().await;
    let gone = async {
        while pid(&ground, "orphan").await.is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(crate::ground::PATIENCE, gone).await.expect("the orphan goes");
    assert_eq!(pid(&ground, "stays").await, Some(first));
    let after = ground.control.get("pods", "default", "stays").expect("is there");
    assert_eq!(after["status"]["podIP"], before["status"]["podIP"]);
    assert_eq!(after["status"]["containerStatuses"], before["status"]["containerStatuses"]);
    assert!(is_ready(&after));
    ground.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_control_plane_containers_are_restarted_even_by_a_new_agent() {
    let Some(mut ground) = ground().await else { return };
    ground.control.put("secrets", json!({"metadata": {"name": "s", "namespace": "default"}, "data": {"A": "b25l"}}));
    ground.run("web", json!({"containers": [{"name": "main", "sh": "test \"$A\" = one || exit 1; trap 'exit 0' TERM; while :; do sleep 0.1; done",
        "envFrom": [{"secretRef": {"name": "s"}}]}]}));
    ground.pod("web", is_ready).await;
    ground.stop_server();
    ground.stop_agent().await;
    let first = pid(&ground, "web").await.expect("runs");
    ground.start_agent().await;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(first), nix::sys::signal::Signal::SIGKILL).expect("kills");
    let again = async {
        while pid(&ground, "web").await.is_none_or(|now| now == first) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(crate::ground::PATIENCE, again).await.expect("it runs again");
    ground.start_server().await;
    let restarted = |p: &Value| p["status"]["containerStatuses"][0]["restartCount"] == 1 && is_ready(p);
    ground.pod("web", restarted).await;
    ground.finish().await;
}
