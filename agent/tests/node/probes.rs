//! Readiness and startup.

use crate::ground::{ground, is_ready};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_the_probe() {
    let Some(ground) = ground().await else { return };
    ground.run("web", json!({"containers": [{
        "name": "main", "ports": [{"name": "http", "containerPort": 8080}],
        "sh": "trap 'exit 0' TERM; sleep 0.5; while :; do echo -e 'HTTP/1.0 200 OK\\r\\n\\r\\nok' | nc -l -p 8080 -w 1; done",
        "readinessProbe": {"httpGet": {"port": "http", "path": "/"}, "periodSeconds": 1},
        "startupProbe": {"exec": {"command": ["/bin/busybox", "true"]}, "periodSeconds": 1},
    }]}));
    let pod = ground.pod("web", |p| p["status"]["containerStatuses"][0]["started"] == true).await;
    assert_eq!(pod["status"]["phase"], "Running");
    ground.pod("web", is_ready).await;
    ground.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_not_ready_says_so() {
    let Some(ground) = ground().await else { return };
    ground.run(
        "web",
        json!({"containers": [{
            "name": "main", "sh": "trap 'exit 0' TERM; while :; do sleep 0.1; done",
            "readinessProbe": {"tcpSocket": {"port": 9}, "periodSeconds": 1, "failureThreshold": 1},
        }]}),
    );
    let unhealthy = |p: &serde_json::Value| p["status"]["containerStatuses"][0]["state"]["running"].is_object();
    let pod = ground.pod("web", unhealthy).await;
    assert!(!is_ready(&pod));
    ground.told("Unhealthy", "Readiness probe failed: dial tcp ").await;
    ground.finish().await;
}
