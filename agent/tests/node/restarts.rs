//! Containers that end are started again, with back-off; liveness kills.

use crate::ground::{ground, is_ready};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_fails_is_restarted_with_back_off() {
    let Some(ground) = ground().await else { return };
    ground.run("crash", json!({"containers": [{"name": "main", "sh": "exit 7"}]}));
    let pod = ground
        .pod("crash", |p| p["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff")
        .await;
    let container = &pod["status"]["containerStatuses"][0];
    assert_eq!((&container["restartCount"], &container["lastState"]["terminated"]["exitCode"]), (&json!(1), &json!(7)));
    let message = container["state"]["waiting"]["message"].as_str().expect("a message");
    assert!(message.starts_with("back-off 10s restarting failed container=main pod=crash_default("), "{message}");
    ground.told("BackOff", "Back-off restarting failed container main in pod crash_default(").await;
    ground.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_does_not_answer_is_restarted() {
    let Some(ground) = ground().await else { return };
    ground.run("sick", json!({"containers": [{
        "name": "main", "sh": "trap 'exit 0' TERM; touch /tmp/well; sleep 3; rm -f /tmp/well; while :; do sleep 0.1; done",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        "livenessProbe": {"exec": {"command": ["/bin/busybox", "test", "-e", "/tmp/well"]}, "periodSeconds": 1, "failureThreshold": 1, "initialDelaySeconds": 2},
    }], "volumes": [{"name": "tmp", "emptyDir": {}}]}));
    let pod = ground.pod("sick", |p| p["status"]["containerStatuses"][0]["restartCount"] == 1 && is_ready(p)).await;
    assert_eq!(pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 0);
    ground.told("Killing", "Container main failed liveness probe, will be restarted").await;
    ground.told("Unhealthy", "Liveness probe failed: ").await;
    ground.finish().await;
}
