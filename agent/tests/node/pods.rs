//! From a bound pod to a process that runs as asked.

use crate::ground::{ground, is_ready};
use serde_json::json;
use std::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn the_node_registers_and_is_ready() {
    let Some(ground) = ground().await else { return };
    ground.agent.as_ref().expect("an agent").ready().await.expect("ready");
    let node = ground.control.get("nodes", "", "n1").expect("a node");
    assert_eq!(node["metadata"]["labels"]["zone"], "here");
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], "n1");
    let conditions = node["status"]["conditions"].as_array().expect("conditions");
    assert!(conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True" && c["reason"] == "KubeletReady"));
    assert_eq!(node["status"]["capacity"]["pods"], "110");
    let lease = ground.control.until("leases", "kube-node-lease", "n1", |l| !l.is_null()).await;
    assert_eq!(lease["spec"]["holderIdentity"], "n1");
    ground.control.delete("nodes", "", "n1");
    ground.control.until("nodes", "", "n1", |n| !n["status"]["conditions"].is_null()).await;
    ground.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_runs_and_is_deleted() {
    let Some(ground) = ground().await else { return };
    let began = Instant::now();
    ground
        .run("web", json!({"containers": [{"name": "main", "sh": "trap 'exit 0' TERM; while :; do sleep 0.1; done"}]}));
    let pod = ground.pod("web", is_ready).await;
    println!("bound to Ready in {:?}", began.elapsed());
    let status = &pod["status"];
    assert_eq!(status["phase"], "Running");
    assert!(status["podIP"].as_str().is_some_and(|ip| ip.starts_with("10.")), "{status:#}");
    let container = &status["containerStatuses"][0];
    assert_eq!((&container["restartCount"], &container["started"]), (&json!(0), &json!(true)));
    assert!(container["containerID"].as_str().is_some_and(|id| id.starts_with("coracle://")));
    ground.control.delete_gracefully("default", "web", 10);
    let began = Instant::now();
    ground.gone("web").await;
    println!("deleted to gone in {:?}", began.elapsed());
    let image = crate::ground::IMAGE;
    ground.told("Pulled", &format!("Container image {image:?} already present on machine")).await;
    ground.told("Created", "Created container: main").await;
    ground.told("Started", "Started container main").await;
    ground.told("Killing", "Stopping container main").await;
    ground.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_sees_its_environment_and_reports_its_end() {
    let Some(ground) = ground().await else { return };
    ground.control.put("configmaps", json!({"metadata": {"name": "c", "namespace": "default"}, "data": {"A": "one"}}));
    let script = r#"test "$A$POD$(cat /etc/hostname)" = oneworkwork && test -n "$KUBERNETES_SERVICE_HOST" && echo -n done > /dev/termination-log; exit 3"#;
    ground.run(
        "work",
        json!({
            "restartPolicy": "Never",
            "containers": [{"name": "main", "sh": script, "envFrom": [{"configMapRef": {"name": "c"}}],
                "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}],
        }),
    );
    let ended = |p: &serde_json::Value| {
        let terminated = &p["status"]["containerStatuses"][0]["state"]["terminated"];
        p["status"]["phase"] == "Failed" && terminated["message"] == "done"
    };
    let pod = ground.pod("work", ended).await;
    let terminated = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&terminated["exitCode"], &terminated["reason"]), (&json!(3), &json!("Error")));
    ground.control.delete_gracefully("default", "work", 0);
    ground.gone("work").await;
    ground.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_run_says_why_and_recovers() {
    let Some(ground) = ground().await else { return };
    let reason = |wanted: &'static str| {
        move |p: &serde_json::Value| p["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == wanted
    };
    let env = json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "k"}}}]);
    ground.run(
        "unset",
        json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "sh": "sleep 100", "env": env}]}),
    );
    let pod = ground.pod("unset", reason("CreateContainerConfigError")).await;
    assert_eq!(pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"], "configmap \"late\" not found");
    ground.control.put("configmaps", json!({"metadata": {"name": "late", "namespace": "default"}, "data": {"k": "v"}}));
    ground.pod("unset", is_ready).await;
    ground.run("never", json!({"containers": [{"name": "main", "image": "no/such:v1", "imagePullPolicy": "Never"}]}));
    ground.pod("never", reason("ErrImageNeverPull")).await;
    ground.run("nocmd", json!({"containers": [{"name": "main", "command": ["/no/such/program"]}]}));
    let pod = ground.pod("nocmd", reason("CrashLoopBackOff")).await;
    let last = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!(last["reason"], "ContainerCannotRun", "{pod:#}");
    ground.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn init_containers_go_first_and_sidecars_stay() {
    let Some(ground) = ground().await else { return };
    let shared = json!([{"name": "shared", "mountPath": "/shared"}]);
    ground.run("ordered", json!({
        "restartPolicy": "Never",
        "volumes": [{"name": "shared", "emptyDir": {}}],
        "initContainers": [
            {"name": "side", "restartPolicy": "Always", "volumeMounts": shared,
                "sh": "echo side >> /shared/order; trap 'exit 0' TERM; while :; do sleep 0.1; done"},
            {"name": "first", "volumeMounts": shared, "sh": "until test -s /shared/order; do sleep 0.01; done; echo first >> /shared/order"},
        ],
        "containers": [{"name": "main", "volumeMounts": shared,
            "sh": "test \"$(echo $(cat /shared/order))\" = 'side first'"}],
    }));
    let pod = ground.pod("ordered", |p| matches!(p["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))).await;
    assert_eq!(pod["status"]["phase"], "Succeeded", "{:#}", pod["status"]);
    assert!(pod["status"]["initContainerStatuses"][0]["state"]["terminated"].is_object(), "the sidecar was stopped");
    ground.finish().await;
}
