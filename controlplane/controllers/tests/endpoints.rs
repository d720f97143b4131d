//! EndpointSlices and Endpoints on the real registry.

mod world;

use coracle_client::DeleteOptions;
use coracle_proto::resource::{ENDPOINT_SLICES, ENDPOINTS, PODS, REPLICA_SETS, SERVICES};
use coracle_proto::{ObjectKey, Tree, meta};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;
use world::{NS, World, is_ready, replica_set};

fn service() -> Tree {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": NS, "labels": {"team": "x"}},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    })
}

async fn slices(world: &World) -> Vec<Tree> {
    let all = world.list(&ENDPOINT_SLICES, NS).await;
    all.into_iter().filter(|s| meta::label(s, "kubernetes.io/service-name") == Some("web")).collect()
}

/// Names of the pods whose endpoint is ready.
async fn serving(world: &World) -> Vec<String> {
    let mut names = Vec::new();
    for slice in slices(world).await {
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            if endpoint["conditions"]["ready"] == true {
                names.push(endpoint["targetRef"]["name"].as_str().unwrap_or_default().to_owned());
            }
        }
    }
    names.sort();
    names
}

async fn serving_legacy(world: &World) -> usize {
    let endpoints = world.get(&ENDPOINTS, &ObjectKey::new(NS, "web")).await.unwrap_or_default();
    let subsets = endpoints["subsets"].as_array().cloned().unwrap_or_default();
    subsets.iter().map(|s| s["addresses"].as_array().map_or(0, Vec::len)).sum()
}

#[tokio::test(start_paused = true)]
async fn endpoints_follow_readiness_and_deletion_at_once() {
    let world = World::new().await;
    world.create(&SERVICES, service()).await;
    world.create(&REPLICA_SETS, replica_set("web", 3)).await;
    world.until("pods", || async { (world.pods().await.len() == 3).then_some(()) }).await;
    assert!(serving(&world).await.is_empty());
    while world.play_node(|_| true).await {}
    world.until("all serve", || async { (serving(&world).await.len() == 3).then_some(()) }).await;
    world.until("all serve, the old way", || async { (serving_legacy(&world).await == 3).then_some(()) }).await;
    let slice = slices(&world).await.remove(0);
    assert_eq!(slice["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
    assert_eq!(meta::label(&slice, "team"), Some("x"));

    // No timer may stand between the pod's change and the endpoints'.
    let pod = ObjectKey::of(&world.pods().await[0]);
    let started = Instant::now();
    world.delete(&PODS, &pod, DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() }).await;
    while serving(&world).await.contains(&pod.name) {
        tokio::task::yield_now().await;
        assert!(started.elapsed() < Duration::from_millis(50));
    }
}

#[tokio::test(start_paused = true)]
async fn an_unready_or_terminating_pod_does_not_serve() {
    let world = World::new().await;
    world.create(&SERVICES, service()).await;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}});
    world.create(&coracle_proto::resource::NODES, node).await;
    let mut set = replica_set("web", 2);
    set["spec"]["template"]["spec"]["nodeName"] = "n".into();
    world.create(&REPLICA_SETS, set).await;
    world.play_until("all serve", || async { (serving(&world).await.len() == 2).then_some(()) }).await;
    let pods: Vec<ObjectKey> = world.pods().await.iter().map(ObjectKey::of).collect();
    world.run_pod(&pods[0], false).await.expect("unready");
    world.until("unready", || async { (serving(&world).await == [pods[1].name.clone()]).then_some(()) }).await;
    world.delete(&PODS, &pods[1], DeleteOptions::default()).await;
    world.until("terminating", || async { serving(&world).await.is_empty().then_some(()) }).await;
    let endpoints: Vec<Value> =
        slices(&world).await.iter().flat_map(|s| s["endpoints"].as_array().cloned().unwrap_or_default()).collect();
    let of = |name: &str| endpoints.iter().find(|e| e["targetRef"]["name"] == name).map(|e| e["conditions"].clone());
    assert_eq!(of(&pods[0].name), Some(json!({"ready": false, "serving": false, "terminating": false})));
    assert_eq!(of(&pods[1].name), Some(json!({"ready": false, "serving": true, "terminating": true})));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_service_takes_its_endpoints_along_and_strangers_stay() {
    let world = World::new().await;
    let mut selectorless = service();
    selectorless["metadata"]["name"] = "outside".into();
    selectorless["spec"].as_object_mut().expect("a map").remove("selector");
    world.create(&SERVICES, selectorless).await;
    let outside = json!({
        "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "outside", "namespace": NS},
        "subsets": [{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"port": 80}]}],
    });
    world.create(&ENDPOINTS, outside).await;
    let mirrored = || async {
        let slices = world.list(&ENDPOINT_SLICES, NS).await;
        let of = |s: &&Tree| meta::label(s, "kubernetes.io/service-name") == Some("outside");
        slices.iter().find(of).map(|s| s["endpoints"][0]["addresses"][0].clone())
    };
    assert_eq!(world.until("mirrored", mirrored).await, "192.0.2.7");
    world.create(&SERVICES, service()).await;
    world.create(&REPLICA_SETS, replica_set("web", 1)).await;
    world.play_until("serves", || async { (serving(&world).await.len() == 1).then_some(()) }).await;
    assert!(world.pods().await.iter().all(is_ready));
    world.until("the old way", || async { (serving_legacy(&world).await == 1).then_some(()) }).await;
    world.delete(&SERVICES, &ObjectKey::new(NS, "web"), DeleteOptions::default()).await;
    world
        .until("all gone", || async {
            let gone =
                slices(&world).await.is_empty() && world.get(&ENDPOINTS, &ObjectKey::new(NS, "web")).await.is_none();
            gone.then_some(())
        })
        .await;
    assert!(world.get(&ENDPOINTS, &ObjectKey::new(NS, "outside")).await.is_some());
    assert!(slices(&world).await.is_empty());
}
