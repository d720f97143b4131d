//! ReplicaSets on the real registry.

mod world;

use coracle_apiserver::UserInfo;
use coracle_client::DeleteOptions;
use coracle_proto::resource::{PODS, REPLICA_SETS};
use coracle_proto::{ApiError, ObjectKey, meta};
use serde_json::json;
use std::time::Duration;
use world::faults::Faulty;
use world::{NS, World, condition, is_ready, replica_set};

#[tokio::test(start_paused = true)]
async fn a_replica_set_makes_its_pods_and_says_so() {
    let world = World::new().await;
    world.create(&REPLICA_SETS, replica_set("web", 3)).await;
    let set = world
        .play_until("three available", || async {
            let set = world.sets().await.remove(0);
            (set["status"]["availableReplicas"] == 3).then_some(set)
        })
        .await;
    let status = &set["status"];
    assert_eq!(
        (&status["replicas"], &status["readyReplicas"], &status["fullyLabeledReplicas"]),
        (&json!(3), &json!(3), &json!(3))
    );
    assert_eq!(status["observedGeneration"], 1);
    let pods = world.pods().await;
    assert_eq!(pods.len(), 3);
    for pod in &pods {
        assert!(meta::name(pod).starts_with("web-"));
        let owner = meta::controller_of(pod).expect("a controller");
        assert_eq!((owner["uid"].as_str(), &owner["kind"]), (Some(meta::uid(&set)), &json!("ReplicaSet")));
    }
    world.settle().await;
    let events = world.events("web").await;
    assert_eq!(
        events
            .iter()
            .filter(|(reason, message)| reason == "SuccessfulCreate" && message.starts_with("Created pod: web-"))
            .count(),
        3
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_pod_is_replaced_and_a_surplus_removed_unready_first() {
    let world = World::new().await;
    world.create(&REPLICA_SETS, replica_set("web", 3)).await;
    world
        .play_until("three ready", || async {
            (world.pods().await.iter().filter(|p| is_ready(p)).count() == 3).then_some(())
        })
        .await;
    let lost = ObjectKey::of(&world.pods().await[0]);
    world.delete(&PODS, &lost, DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() }).await;
    world.until("replaced", || async { (world.pods().await.len() == 3).then_some(()) }).await;
    let unready =
        world.pods().await.into_iter().find(|p| !is_ready(p)).map(|p| ObjectKey::of(&p)).expect("the new one");
    world.patch(&REPLICA_SETS, &ObjectKey::new(NS, "web"), "", json!({"spec": {"replicas": 2}})).await;
    world.until("scaled down", || async { (world.pods().await.len() == 2).then_some(()) }).await;
    assert!(world.pods().await.iter().all(|p| ObjectKey::of(p) != unready), "the unready pod went first");
}

#[tokio::test(start_paused = true)]
async fn pods_are_adopted_and_let_go_by_their_labels() {
    let world = World::new().await;
    let mut orphan = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "orphan", "namespace": NS}});
    orphan["metadata"]["labels"] = json!({"app": "web"});
    orphan["spec"] = world::template("v1")["spec"].clone();
    world.create(&PODS, orphan).await;
    world.create(&REPLICA_SETS, replica_set("web", 2)).await;
    let key = ObjectKey::new(NS, "orphan");
    world
        .until("adopted", || async {
            let pod = world.get(&PODS, &key).await?;
            (meta::controller_of(&pod).is_some() && world.pods().await.len() == 2).then_some(())
        })
        .await;
    world.patch(&PODS, &key, "", json!({"metadata": {"labels": {"app": "debug"}}})).await;
    world
        .until("released and replaced", || async {
            let pod = world.get(&PODS, &key).await?;
            (meta::controller_of(&pod).is_none() && world.pods().await.len() == 3).then_some(())
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_pod_is_tried_alone_and_shown_until_it_is_let_in() {
    let mut world = World::new().await;
    let api = Faulty::refusing(world.registry.client(UserInfo::controller_manager()), |resource| {
        (*resource == PODS).then(|| ApiError::forbidden(&PODS, "web-x", "exceeded quota: small"))
    });
    world.restart_as(api.clone()).await;
    world.create(&REPLICA_SETS, replica_set("web", 50)).await;
    let failure = world
        .until("the failure shows", || async {
            let failure = condition(&world.sets().await[0], "ReplicaFailure");
            failure.is_object().then_some(failure)
        })
        .await;
    assert_eq!((&failure["status"], &failure["reason"]), (&json!("True"), &json!("FailedCreate")));
    assert_eq!(failure["message"], "pods \"web-x\" is forbidden: exceeded quota: small");
    world.settle().await;
    let events = world.events("web").await;
    let want =
        ("FailedCreate".to_owned(), "Error creating: pods \"web-x\" is forbidden: exceeded quota: small".to_owned());
    assert!(events.contains(&want), "{events:?}");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(api.refused() < 20, "one per round and its back-off, not fifty: {}", api.refused());
    api.relent();
    world
        .until("made after all", || async {
            let set = world.sets().await.remove(0);
            (world.pods().await.len() == 50 && condition(&set, "ReplicaFailure").is_null()).then_some(())
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_available_only_after_min_ready_seconds() {
    let world = World::new().await;
    let mut set = replica_set("web", 1);
    set["spec"]["minReadySeconds"] = 30.into();
    world.create(&REPLICA_SETS, set).await;
    let ready = || async { (world.sets().await[0]["status"]["readyReplicas"] == 1).then_some(()) };
    world.play_until("ready", ready).await;
    let available = || async { world.sets().await[0]["status"]["availableReplicas"] == 1 };
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!available().await);
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert!(available().await, "by time alone");
}
