//! Nodes that fall silent, come back, or go away, on the real registry and a paused clock.

mod world;

use coracle_client::DeleteOptions;
use coracle_proto::resource::{LEASES, NODES, PODS};
use coracle_proto::{ObjectKey, Tree, meta, time};
use serde_json::json;
use std::time::Duration;
use world::{NS, World, condition, is_ready};

async fn add_node(world: &World, name: &str) {
    let ready = json!([{"type": "Ready", "status": "True", "reason": "KubeletReady",
                        "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {"conditions": ready}});
    world.create(&NODES, node).await;
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": "2026-01-01T00:00:00.000000Z"},
    });
    world.create(&LEASES, lease).await;
}

async fn add_pod(world: &World, name: &str, node: &str) -> ObjectKey {
    let mut spec = world::template("v1")["spec"].clone();
    spec["nodeName"] = node.into();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NS}, "spec": spec});
    let key = ObjectKey::of(&world.create(&PODS, pod).await);
    world.run_pod(&key, true).await.expect("runs");
    key
}

async fn renew(world: &World, name: &str) {
    let at = time::render_micro(jiff::Timestamp::now());
    let key = ObjectKey::new("kube-node-lease", name);
    world.patch(&LEASES, &key, "", json!({"spec": {"renewTime": at}})).await;
}

fn taints(node: &Tree) -> Vec<String> {
    let text = |t: &Tree, field: &str| t[field].as_str().unwrap_or_default().to_owned();
    let list = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    list.iter().map(|t| format!("{}:{}", text(t, "key"), text(t, "effect"))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_is_noticed_kept_free_and_emptied_after_five_minutes() {
    let world = World::new().await;
    for name in ["alive", "silent"] {
        add_node(&world, name).await;
    }
    let pod = add_pod(&world, "p", "silent").await;
    let silent = ObjectKey::cluster("silent");
    let live = || async { world.get(&NODES, &silent).await.expect("the node") };
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        renew(&world, "alive").await;
        renew(&world, "silent").await;
    }
    assert_eq!(condition(&live().await, "Ready")["status"], "True", "renewed leases are signs of life");

    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        renew(&world, "alive").await;
    }
    let node = live().await;
    let ready = condition(&node, "Ready");
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("Unknown"), &json!("NodeStatusUnknown")));
    assert_eq!(ready["message"], "Kubelet stopped posting node status.");
    let want = ["node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute"];
    assert_eq!(taints(&node), want);
    assert!(taints(&world.get(&NODES, &ObjectKey::cluster("alive")).await.expect("it")).is_empty());
    let found = world.get(&PODS, &pod).await.expect("still there");
    assert!(!is_ready(&found) && !meta::is_deleting(&found), "not ready, and tolerated for five minutes");
    assert!(
        world
            .events("silent")
            .await
            .contains(&("NodeNotReady".into(), "Node silent status is now: NodeNotReady".into()))
    );

    for _ in 0..31 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        renew(&world, "alive").await;
    }
    let found = world.get(&PODS, &pod).await.expect("its node must end it");
    assert!(meta::is_deleting(&found));
    assert_eq!(condition(&found, "DisruptionTarget")["reason"], "DeletionByTaintManager");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_loses_its_taints_and_keeps_its_pods() {
    let world = World::new().await;
    for name in ["alive", "back"] {
        add_node(&world, name).await;
    }
    let pod = add_pod(&world, "p", "back").await;
    let back = ObjectKey::cluster("back");
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        renew(&world, "alive").await;
    }
    assert_eq!(taints(&world.get(&NODES, &back).await.expect("it")).len(), 2);
    let ready = json!([{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T01:00:00Z"}]);
    world.patch(&NODES, &back, "status", json!({"status": {"conditions": ready}})).await;
    world.until("clean", || async { taints(&world.get(&NODES, &back).await?).is_empty().then_some(()) }).await;
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        renew(&world, "alive").await;
        renew(&world, "back").await;
    }
    assert!(!meta::is_deleting(&world.get(&PODS, &pod).await.expect("it stays")));
}

#[tokio::test(start_paused = true)]
async fn a_lone_silent_node_is_not_emptied() {
    let world = World::new().await;
    add_node(&world, "only").await;
    let pod = add_pod(&world, "p", "only").await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let node = world.get(&NODES, &ObjectKey::cluster("only")).await.expect("it");
    assert_eq!(taints(&node), ["node.kubernetes.io/unreachable:NoSchedule"]);
    assert!(!meta::is_deleting(&world.get(&PODS, &pod).await.expect("it stays")));
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_removed_node_and_unscheduled_terminating_ones_are_collected() {
    let world = World::new().await;
    add_node(&world, "gone").await;
    add_node(&world, "stays").await;
    let lost = add_pod(&world, "lost", "gone").await;
    let kept = add_pod(&world, "kept", "stays").await;
    world.delete(&NODES, &ObjectKey::cluster("gone"), DeleteOptions::default()).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(world.get(&PODS, &lost).await.is_some(), "in quarantine");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(world.get(&PODS, &lost).await.is_none());
    assert!(world.get(&PODS, &kept).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_no_execute_taint_evicts_what_does_not_tolerate_it() {
    let world = World::new().await;
    add_node(&world, "n").await;
    let pod = add_pod(&world, "p", "n").await;
    let mut tolerant = world::template("v1")["spec"].clone();
    tolerant["nodeName"] = "n".into();
    tolerant["tolerations"] = json!([{"key": "maintenance", "operator": "Exists"}]);
    let tolerant =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "t", "namespace": NS}, "spec": tolerant});
    let tolerant = ObjectKey::of(&world.create(&PODS, tolerant).await);
    let taint = json!({"spec": {"taints": [{"key": "maintenance", "effect": "NoExecute"}]}});
    world.patch(&NODES, &ObjectKey::cluster("n"), "", taint).await;
    world.until("evicted", || async { meta::is_deleting(&world.get(&PODS, &pod).await?).then_some(()) }).await;
    world.settle().await;
    assert!(!meta::is_deleting(&world.get(&PODS, &tolerant).await.expect("it stays")));
    let want = ("TaintManagerEviction".to_owned(), format!("Marking for deletion Pod {NS}/p"));
    assert!(world.events("p").await.contains(&want));
}
