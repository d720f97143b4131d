//! Deployments on the real registry.

mod world;

use coracle_client::DeleteOptions;
use coracle_proto::resource::{DEPLOYMENTS, NODES, PODS, REPLICA_SETS};
use coracle_proto::{ObjectKey, Tree, meta};
use serde_json::json;
use std::time::Duration;
use world::{NS, World, condition, deployment, is_ready};

fn image(image: &str) -> Tree {
    json!({"spec": {"template": {"spec": {"containers": world::template(image)["spec"]["containers"]}}}})
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

#[tokio::test(start_paused = true)]
async fn a_rollout_that_does_not_move_misses_its_deadline() {
    let world = World::new().await;
    let mut d = deployment("web", 1);
    d["spec"]["progressDeadlineSeconds"] = 60.into();
    world.create(&DEPLOYMENTS, d).await;
    let progressing = || async { condition(&world.deployment("web").await, "Progressing") };
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(progressing().await["status"], "True");
    tokio::time::sleep(Duration::from_secs(40)).await;
    let late = progressing().await;
    assert_eq!((&late["status"], &late["reason"]), (&json!("False"), &json!("ProgressDeadlineExceeded")));
    let name = meta::name(&world.sets().await[0]).to_owned();
    assert_eq!(late["message"], format!("ReplicaSet {name:?} has timed out progressing."));
    world
        .play_until("it moves after all", || async {
            (progressing().await["reason"] == "NewReplicaSetAvailable").then_some(())
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn recreate_starts_nothing_before_the_last_old_pod_is_gone() {
    let world = World::new().await;
    world.create(&NODES, json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}})).await;
    let mut d = deployment("web", 2);
    d["spec"]["strategy"] = json!({"type": "Recreate"});
    d["spec"]["template"]["spec"]["nodeName"] = "n".into();
    world.create(&DEPLOYMENTS, d).await;
    let up = || async { (world.deployment("web").await["status"]["availableReplicas"] == 2).then_some(()) };
    world.play_until("up", up).await;
    world.patch(&DEPLOYMENTS, &ObjectKey::new(NS, "web"), "", image("v2")).await;
    world
        .until("old pods terminate", || async { world.pods().await.iter().all(meta::is_deleting).then_some(()) })
        .await;
    world.settle().await;
    let pods = world.pods().await;
    assert_eq!((pods.len(), world.sets().await.len()), (2, 1), "nothing new while they run");
    let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    world.delete(&PODS, &ObjectKey::of(&pods[0]), now.clone()).await;
    world.settle().await;
    assert_eq!(world.sets().await.len(), 1);
    world.delete(&PODS, &ObjectKey::of(&pods[1]), now).await;
    world
        .until("the new ones", || async {
            let pods = world.pods().await;
            (pods.len() == 2 && pods.iter().all(|p| p["spec"]["containers"][0]["image"] == "v2")).then_some(())
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_taken_name_is_avoided_by_counting_collisions() {
    let mut world = World::new().await;
    world.create(&DEPLOYMENTS, deployment("web", 1)).await;
    let made = || async { world.sets().await.first().map(|s| meta::name(s).to_owned()) };
    let name = world.until("the set", made).await;
    world.stop().await;
    // The same deployment again, but somebody else's set has the name its hash gives.
    world.delete(&DEPLOYMENTS, &ObjectKey::new(NS, "web"), DeleteOptions::default()).await;
    world.delete(&REPLICA_SETS, &ObjectKey::new(NS, &*name), DeleteOptions::default()).await;
    let mut squatter = world::replica_set(&name, 0);
    squatter["spec"]["selector"] = json!({"matchLabels": {"app": "other"}});
    squatter["spec"]["template"]["metadata"]["labels"] = json!({"app": "other"});
    world.create(&REPLICA_SETS, squatter).await;
    world.create(&DEPLOYMENTS, deployment("web", 1)).await;
    world.restart().await;
    world
        .until("a set by another name", || async {
            let ours = world.sets().await.into_iter().find(|s| meta::name(s) != name)?;
            (world.deployment("web").await["status"]["collisionCount"] == 1).then_some(ours)
        })
        .await;
    assert_eq!(world.sets().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_a_change_back_until_it_is_resumed() {
    let world = World::new().await;
    world.create(&DEPLOYMENTS, deployment("web", 2)).await;
    let up = || async { (world.deployment("web").await["status"]["availableReplicas"] == 2).then_some(()) };
    world.play_until("up", up).await;
    let key = ObjectKey::new(NS, "web");
    world.patch(&DEPLOYMENTS, &key, "", json!({"spec": {"paused": true}})).await;
    world.patch(&DEPLOYMENTS, &key, "", image("v2")).await;
    world.patch(&DEPLOYMENTS, &key, "", json!({"spec": {"replicas": 3}})).await;
    world
        .play_until("scaled while paused", || async {
            (world.deployment("web").await["status"]["availableReplicas"] == 3).then_some(())
        })
        .await;
    world.settle().await;
    assert_eq!(world.sets().await.len(), 1);
    assert_eq!(condition(&world.deployment("web").await, "Progressing")["reason"], "DeploymentPaused");
    world.patch(&DEPLOYMENTS, &key, "", json!({"spec": {"paused": false}})).await;
    world
        .play_until("rolled out", || async {
            let d = world.deployment("web").await;
            let done = d["status"]["updatedReplicas"] == 3 && d["status"]["replicas"] == 3;
            (done && world.sets().await.len() == 2).then_some(())
        })
        .await;
}
