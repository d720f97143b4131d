//! Workloads under faults: a crash between any two writes, caches that lag, watches that break.

mod world;

use coracle_apiserver::UserInfo;
use coracle_proto::resource::{DEPLOYMENTS, EVENTS, REPLICA_SETS};
use coracle_proto::{ObjectKey, meta};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use world::faults::Faulty;
use world::{NS, World, deployment, replica_set};

/// Every number of writes up to this (or `CORACLE_CRASHES`) is tried as the moment of death.
const CRASHES: usize = 12;

fn crashes() -> usize {
    std::env::var("CORACLE_CRASHES").ok().and_then(|n| n.parse().ok()).unwrap_or(CRASHES)
}

async fn complete(world: &World, image: &str) -> Option<()> {
    let status = &world.deployment("web").await["status"];
    let sets = world.sets().await;
    let newest: Vec<_> = sets.iter().filter(|s| s["spec"]["replicas"] == 3).collect();
    let right = newest.len() == 1 && newest[0]["spec"]["template"]["spec"]["containers"][0]["image"] == image;
    (right && status["availableReplicas"] == 3 && status["updatedReplicas"] == 3 && status["replicas"] == 3)
        .then_some(())
}

#[tokio::test(start_paused = true)]
async fn a_deployment_survives_a_crash_between_any_two_writes() {
    for writes in 1..=crashes() {
        let mut world = World::new().await;
        world.create(&DEPLOYMENTS, deployment("web", 3)).await;
        world.play_until("first rollout", || complete(&world, "v1")).await;
        world.settle().await;
        world.stop().await;
        // The next controllers die after so many writes, somewhere in the rollout.
        let dying = Faulty::dying_after(world.registry.client(UserInfo::controller_manager()), writes);
        world.restart_as(dying.clone()).await;
        let key = ObjectKey::new(NS, "web");
        let containers = world::template("v2")["spec"]["containers"].clone();
        world.patch(&DEPLOYMENTS, &key, "", json!({"spec": {"template": {"spec": {"containers": containers}}}})).await;
        for _ in 0..50 {
            if dying.is_dead() {
                break;
            }
            world.play_node(|_| true).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        world.restart().await;
        world.play_until("the rollout after the crash", || complete(&world, "v2")).await;
        world.settle().await;
        assert_eq!(world.pods().await.len(), 3, "crash after {writes} writes");
        let sets = world.sets().await;
        assert_eq!(sets.len(), 2, "crash after {writes} writes");
        let revisions: Vec<_> = sets.iter().map(|s| meta::annotation(s, "deployment.kubernetes.io/revision")).collect();
        assert!(revisions.contains(&Some("1")) && revisions.contains(&Some("2")), "{revisions:?}");
        assert_eq!(meta::annotation(&world.deployment("web").await, "deployment.kubernetes.io/revision"), Some("2"));
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_set_never_makes_too_many_pods_on_a_stale_cache() {
    for lag in [5, 50, 400] {
        let mut world = World::without_controllers().await;
        let api: Arc<Faulty> = Faulty::lagging(
            world.registry.client(UserInfo::controller_manager()),
            Duration::from_millis(lag),
            usize::MAX,
        );
        world.restart_on(api.clone(), api).await;
        let account = ObjectKey::new(NS, "default");
        let made = || async { world.get(&coracle_proto::resource::SERVICE_ACCOUNTS, &account).await };
        world.until("account", made).await;
        world.create(&REPLICA_SETS, replica_set("web", 10)).await;
        let mut most = 0;
        for _ in 0..600 {
            most = most.max(world.pods().await.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!((most, world.pods().await.len()), (10, 10), "lag of {lag} ms");
        // Pods without a node go at once, so one deleted twice would show as one too few.
        world.patch(&REPLICA_SETS, &ObjectKey::new(NS, "web"), "", json!({"spec": {"replicas": 4}})).await;
        let mut fewest = usize::MAX;
        for _ in 0..600 {
            fewest = fewest.min(world.pods().await.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!((fewest, world.pods().await.len()), (4, 4), "lag of {lag} ms");
        let created = world.list(&EVENTS, NS).await.into_iter().filter(|e| e["reason"] == "SuccessfulCreate").count();
        assert_eq!(created, 10);
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollout_goes_on_while_watches_lag_and_break() {
    let mut world = World::without_controllers().await;
    let api = Faulty::lagging(world.registry.client(UserInfo::controller_manager()), Duration::from_millis(7), 5);
    world.restart_on(api.clone(), api).await;
    world.create(&DEPLOYMENTS, deployment("web", 3)).await;
    world.play_until("first rollout", || complete(&world, "v1")).await;
    let containers = world::template("v2")["spec"]["containers"].clone();
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    world.patch(&DEPLOYMENTS, &ObjectKey::new(NS, "web"), "", patch).await;
    world.play_until("second rollout", || complete(&world, "v2")).await;
    assert_eq!(world.sets().await.len(), 2);
    world.stop().await;
}
