//! ReplicaSets and Deployments on the real registry.

mod world;

use coracle_client::DeleteOptions;
use coracle_proto::resource::{DEPLOYMENTS, PODS, REPLICA_SETS};
use coracle_proto::{ObjectKey, meta};
use serde_json::json;
use world::{NS, World, condition, deployment, is_ready, replica_set};

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
async fn a_deployment_rolls_and_goes_back_without_losing_availability() {
    let world = World::new().await;
    world.create(&DEPLOYMENTS, deployment("web", 4)).await;
    let done = |generation: i64| {
        let world = &world;
        move || async move {
            let d = world.deployment("web").await;
            let status = &d["status"];
            let complete =
                status["updatedReplicas"] == 4 && status["replicas"] == 4 && status["availableReplicas"] == 4;
            (complete && status["observedGeneration"] == generation).then_some(d)
        }
    };
    let d = world.play_until("first rollout", done(1)).await;
    assert_eq!(condition(&d, "Available")["reason"], "MinimumReplicasAvailable");
    assert_eq!(meta::annotation(&d, "deployment.kubernetes.io/revision"), Some("1"));

    let key = ObjectKey::new(NS, "web");
    for (image, generation, revision) in [("v2", 2, "2"), ("v1", 3, "3")] {
        let template =
            json!({"spec": {"template": {"spec": {"containers": world::template(image)["spec"]["containers"]}}}});
        world.patch(&DEPLOYMENTS, &key, "", template).await;
        let d = world
            .play_until("a rollout", || async {
                let ready = world.pods().await.iter().filter(|p| is_ready(p) && !meta::is_deleting(p)).count();
                assert!(ready >= 3, "only {ready} of 4 serve");
                done(generation)().await
            })
            .await;
        assert_eq!(meta::annotation(&d, "deployment.kubernetes.io/revision"), Some(revision));
        let progressing = world
            .until("said so", || async {
                let c = condition(&world.deployment("web").await, "Progressing");
                (c["reason"] == "NewReplicaSetAvailable").then_some(c)
            })
            .await;
        assert!(progressing["message"].as_str().is_some_and(|m| m.ends_with("has successfully progressed.")));
    }
    let sets = world.sets().await;
    assert_eq!(sets.len(), 2, "going back reuses the old set");
    let events = world.events("web").await;
    let first = format!(
        "Scaled up replica set {} from 0 to 4",
        meta::name(sets.iter().find(|s| s["spec"]["replicas"] == 4).expect("one"))
    );
    assert!(events.contains(&("ScalingReplicaSet".into(), first.clone())), "{events:?} has no {first:?}");
}

#[tokio::test(start_paused = true)]
async fn scaling_to_zero_and_deleting_old_history() {
    let world = World::new().await;
    let mut d = deployment("web", 1);
    d["spec"]["revisionHistoryLimit"] = json!(0);
    world.create(&DEPLOYMENTS, d).await;
    let key = ObjectKey::new(NS, "web");
    world
        .play_until("up", || async {
            (world.deployment("web").await["status"]["availableReplicas"] == 1).then_some(())
        })
        .await;
    let template = json!({"spec": {"template": {"spec": {"containers": world::template("v2")["spec"]["containers"]}}}});
    world.patch(&DEPLOYMENTS, &key, "", template).await;
    world
        .play_until("the old set is deleted", || async {
            let sets = world.sets().await;
            (sets.len() == 1 && sets[0]["spec"]["template"]["spec"]["containers"][0]["image"] == "v2").then_some(())
        })
        .await;
    world.patch(&DEPLOYMENTS, &key, "", json!({"spec": {"replicas": 0}})).await;
    world.play_until("down", || async { world.pods().await.is_empty().then_some(()) }).await;
    world
        .until("status", || async {
            let d = world.deployment("web").await;
            (d["status"].get("replicas").is_none() && condition(&d, "Available")["status"] == "True").then_some(())
        })
        .await;
}
