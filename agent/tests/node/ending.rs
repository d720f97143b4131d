//! The end of a pod, in its order.

use crate::ground::{ground, is_ready};
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn pre_stop_then_the_signal_then_the_kill() {
    let Some(ground) = ground().await else { return };
    let log = ground.folder.path().join("log");
    std::fs::create_dir(&log).expect("makes");
    let mount = json!([{"name": "log", "mountPath": "/log"}]);
    ground.run("polite", json!({
        "terminationGracePeriodSeconds": 20,
        "volumes": [{"name": "log", "hostPath": {"path": log.to_str()}}],
        "containers": [{
            "name": "main", "volumeMounts": mount,
            "sh": "trap 'echo term >> /log/order; exit 0' TERM; while :; do sleep 0.05; done",
            "lifecycle": {"preStop": {"exec": {"command": ["/bin/busybox", "sh", "-c", "echo hook >> /log/order"]}}},
        }],
    }));
    ground.pod("polite", is_ready).await;
    ground.control.delete_gracefully("default", "polite", 20);
    ground.gone("polite").await;
    assert_eq!(std::fs::read_to_string(log.join("order")).expect("reads"), "hook\nterm\n");
    ground.run("deaf", json!({"containers": [{"name": "main", "sh": "trap '' TERM; while :; do sleep 0.1; done"}]}));
    ground.pod("deaf", is_ready).await;
    let began = Instant::now();
    ground.control.delete_gracefully("default", "deaf", 2);
    ground.gone("deaf").await;
    assert!(
        began.elapsed() >= Duration::from_secs(2) && began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    ground.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_takes_too_long_fails() {
    let Some(ground) = ground().await else { return };
    ground.run(
        "long",
        json!({"activeDeadlineSeconds": 1, "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "main", "sh": "trap 'exit 0' TERM; while :; do sleep 0.1; done"}]}),
    );
    let pod = ground.pod("long", |p| p["status"]["phase"] == "Failed").await;
    assert_eq!(pod["status"]["reason"], "DeadlineExceeded");
    ground.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_the_api_forgot_goes() {
    let Some(ground) = ground().await else { return };
    ground
        .run("web", json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "sh": "sleep 1000"}]}));
    ground.pod("web", is_ready).await;
    ground.control.delete("pods", "default", "web");
    let gone = async {
        while !ground.runtime.sandboxes().await.expect("a list").is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(crate::ground::PATIENCE, gone).await.expect("the sandbox goes");
    ground.finish().await;
}
