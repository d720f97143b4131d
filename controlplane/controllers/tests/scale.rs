//! Many pods of one Deployment: how long the controllers take, and that their work does not grow with the square.
//! `CORACLE_REPLICAS` sets the number.

mod world;

use coracle_proto::resource::{DEPLOYMENTS, PODS, SERVICES};
use coracle_proto::{ListOptions, meta};
use serde_json::json;
use std::time::Instant;
use world::{NS, World, deployment};

fn replicas() -> i32 {
    std::env::var("CORACLE_REPLICAS").ok().and_then(|n| n.parse().ok()).unwrap_or(300)
}

/// A clock that runs: this is about time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_deployment_is_made_and_served() {
    let (world, count) = (World::new().await, replicas());
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": NS},
                         "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}});
    world.create(&SERVICES, service).await;
    let started = Instant::now();
    let before = revision(&world).await;
    world.create(&DEPLOYMENTS, deployment("web", count)).await;
    world.until("all made", || async { (world.informers.pods.len() == count as usize).then_some(()) }).await;
    let made = started.elapsed();
    world
        .until("counted", || async { (world.deployment("web").await["status"]["replicas"] == count).then_some(()) })
        .await;
    let writes = revision(&world).await - before;
    println!("{count} pods made in {made:?}, with {writes} writes");
    assert!(writes < 2 * count as u64 + 200, "{writes} writes for {count} pods");

    let started = Instant::now();
    let before = revision(&world).await;
    for pod in world.informers.pods.list() {
        world.run_pod(&pod.meta.key, true).await.expect("runs");
    }
    world
        .until("all available", || async {
            (world.deployment("web").await["status"]["availableReplicas"] == count).then_some(())
        })
        .await;
    let writes = revision(&world).await - before;
    println!("all available in {:?}, with {writes} writes", started.elapsed());
    let slices = world.list(&coracle_proto::resource::ENDPOINT_SLICES, NS).await;
    let ours = slices.iter().filter(|s| meta::label(s, "kubernetes.io/service-name") == Some("web"));
    let serving: usize = ours.map(|s| s["endpoints"].as_array().map_or(0, Vec::len)).sum();
    assert!(serving > 0);
}

async fn revision(world: &World) -> u64 {
    let options = ListOptions { namespace: NS.into(), limit: Some(1), ..ListOptions::default() };
    world.api.list(&PODS, &options).await.expect("listed").revision
}
