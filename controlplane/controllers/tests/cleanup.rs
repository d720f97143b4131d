//! Garbage collection, namespaces and what every namespace holds, on the real registry.

mod world;

use coracle_client::{DeleteOptions, Propagation};
use coracle_proto::resource::{CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS, REPLICA_SETS, SECRETS, SERVICE_ACCOUNTS};
use coracle_proto::{ObjectKey, Tree, meta};
use serde_json::json;
use std::time::Duration;
use world::{NS, World, condition, deployment};

async fn running_deployment() -> World {
    let world = World::new().await;
    world.create(&DEPLOYMENTS, deployment("web", 2)).await;
    let up = || async { (world.deployment("web").await["status"]["availableReplicas"] == 2).then_some(()) };
    world.play_until("up", up).await;
    world
}

fn with(propagation: Propagation) -> DeleteOptions {
    DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() }
}

#[tokio::test(start_paused = true)]
async fn background_deletion_takes_everything_below() {
    let world = running_deployment().await;
    world.delete(&DEPLOYMENTS, &ObjectKey::new(NS, "web"), with(Propagation::Background)).await;
    world
        .play_until("all gone", || async {
            (world.sets().await.is_empty() && world.pods().await.is_empty()).then_some(())
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn foreground_deletion_goes_from_the_leaves_up() {
    let world = running_deployment().await;
    // A pod that is held keeps its set, which keeps the deployment.
    let pod = ObjectKey::of(&world.pods().await[0]);
    world.patch(&PODS, &pod, "", json!({"metadata": {"finalizers": ["x.io/hold"]}})).await;
    world.delete(&DEPLOYMENTS, &ObjectKey::new(NS, "web"), with(Propagation::Foreground)).await;
    world.play_until("only the held pod is left", || async { (world.pods().await.len() == 1).then_some(()) }).await;
    world.settle().await;
    assert_eq!((world.sets().await.len(), world.list(&DEPLOYMENTS, NS).await.len()), (1, 1));
    world.patch(&PODS, &pod, "", json!({"metadata": {"finalizers": null}})).await;
    world
        .play_until("all gone", || async {
            (world.sets().await.is_empty() && world.list(&DEPLOYMENTS, NS).await.is_empty()).then_some(())
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn orphans_stay_and_are_adopted_again() {
    let world = running_deployment().await;
    world.delete(&DEPLOYMENTS, &ObjectKey::new(NS, "web"), with(Propagation::Orphan)).await;
    world.until("gone", || async { world.list(&DEPLOYMENTS, NS).await.is_empty().then_some(()) }).await;
    world.settle().await;
    let sets = world.sets().await;
    assert_eq!((sets.len(), world.pods().await.len()), (1, 2));
    assert!(meta::controller_of(&sets[0]).is_none());
    world.create(&DEPLOYMENTS, deployment("web", 2)).await;
    world
        .until("adopted", || async {
            let sets = world.sets().await;
            (sets.len() == 1 && meta::controller_of(&sets[0]).is_some()).then_some(())
        })
        .await;
    assert_eq!(world.pods().await.len(), 2);
}

fn owned(name: &str, owners: &[(&Tree, &str)]) -> Tree {
    let owner = |(owner, uid): &(&Tree, &str)| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": meta::name(owner), "uid": uid});
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name, "namespace": NS, "ownerReferences": owners.iter().map(owner).collect::<Vec<_>>()},
    })
}

#[tokio::test(start_paused = true)]
async fn an_owner_is_known_by_its_uid_and_the_last_one_counts() {
    let world = World::new().await;
    let map =
        |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NS}});
    let (a, b) = (world.create(&CONFIG_MAPS, map("a")).await, world.create(&CONFIG_MAPS, map("b")).await);
    world.create(&SECRETS, owned("both", &[(&a, meta::uid(&a)), (&b, meta::uid(&b))])).await;
    world.create(&SECRETS, owned("ours", &[(&a, meta::uid(&a))])).await;
    let stale = owned("stale", &[(&a, "00000000-0000-0000-0000-000000000000")]);
    world.create(&SECRETS, stale).await;
    let names = || async { world.names(&SECRETS).await };
    world.until("the stale one goes", || async { (names().await == ["both", "ours"]).then_some(()) }).await;
    world.delete(&CONFIG_MAPS, &ObjectKey::new(NS, "a"), DeleteOptions::default()).await;
    world.until("one owner is left", || async { (names().await == ["both"]).then_some(()) }).await;
    world
        .until("the reference is taken off", || async {
            let both = world.get(&SECRETS, &ObjectKey::new(NS, "both")).await?;
            (both["metadata"]["ownerReferences"].as_array().map(Vec::len) == Some(1)).then_some(())
        })
        .await;
    world.delete(&CONFIG_MAPS, &ObjectKey::new(NS, "b"), DeleteOptions::default()).await;
    world.until("none", || async { names().await.is_empty().then_some(()) }).await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_has_its_account_and_certificates_and_goes_with_everything_in_it() {
    let world = World::new().await;
    world.create(&NAMESPACES, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})).await;
    let key = |name: &str| ObjectKey::new("team", name);
    world.until("account", || async { world.get(&SERVICE_ACCOUNTS, &key("default")).await }).await;
    let map = world.until("certificates", || async { world.get(&CONFIG_MAPS, &key("kube-root-ca.crt")).await }).await;
    assert_eq!(map["data"]["ca.crt"], "-----BEGIN CERTIFICATE-----");
    world.patch(&CONFIG_MAPS, &key("kube-root-ca.crt"), "", json!({"data": {"ca.crt": "other"}})).await;
    world
        .until("put back", || async {
            let map = world.get(&CONFIG_MAPS, &key("kube-root-ca.crt")).await?;
            (map["data"]["ca.crt"] == "-----BEGIN CERTIFICATE-----").then_some(())
        })
        .await;
    let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "held", "namespace": "team"}});
    secret["metadata"]["finalizers"] = json!(["x.io/hold"]);
    world.create(&SECRETS, secret).await;
    let mut d = deployment("web", 2);
    d["metadata"]["namespace"] = "team".into();
    world.create(&DEPLOYMENTS, d).await;
    world.until("pods", || async { (world.list(&PODS, "team").await.len() == 2).then_some(()) }).await;

    let namespace = ObjectKey::cluster("team");
    world.delete(&NAMESPACES, &namespace, DeleteOptions::default()).await;
    let left = world
        .until("only what is held is left", || async {
            let found = world.get(&NAMESPACES, &namespace).await.expect("it is held");
            let emptied =
                world.list(&PODS, "team").await.is_empty() && world.list(&REPLICA_SETS, "team").await.is_empty();
            let remaining = condition(&found, "NamespaceContentRemaining");
            (emptied && remaining["message"] == "Some resources are remaining: secrets. has 1 resource instances")
                .then_some(found)
        })
        .await;
    assert_eq!(left["status"]["phase"], "Terminating");
    let held = condition(&left, "NamespaceFinalizersRemaining");
    assert_eq!(
        held["message"],
        "Some content in the namespace has finalizers remaining: x.io/hold in 1 resource instances"
    );
    world.patch(&SECRETS, &key("held"), "", json!({"metadata": {"finalizers": null}})).await;
    world.until("gone", || async { world.get(&NAMESPACES, &namespace).await.is_none().then_some(()) }).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(
        world.list(&SERVICE_ACCOUNTS, "team").await.is_empty() && world.list(&CONFIG_MAPS, "team").await.is_empty()
    );
}
