//! The whole loop on the real registry: who gets bound, who is refused and told why, and who is tried again when.

mod world;

use coracle_proto::ObjectKey;
use coracle_proto::resource::{NAMESPACES, NODES};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use world::{NS, World, condition, pod};

#[tokio::test(start_paused = true)]
async fn pods_are_bound() {
    let world = World::new().await;
    world.add_node("a").await;
    world.add_pod("p", 500).await;
    assert_eq!(world.bound("p").await, "a");
    assert_eq!(condition(&world.pod("p").await)["status"], "True");
}

#[tokio::test(start_paused = true)]
async fn a_pod_too_big_is_told_so_and_scheduled_once_a_node_is_added() {
    let world = World::new().await;
    world.add_pod("big", 5000).await;
    let nobody = "no nodes available to schedule pods";
    assert_eq!(world.refused("big").await, ("Unschedulable".into(), nobody.into()));
    world.add_node("small").await;
    let why = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not \
               helpful for scheduling.";
    world
        .until("the new reason is in the condition", || async {
            (condition(&world.pod("big").await)["message"] == why).then_some(())
        })
        .await;
    let complaints = world.until("the new reason is in an event", || async {
        let complaints = world.complaints("big").await;
        complaints.iter().any(|message| message == why).then_some(complaints)
    });
    assert!(complaints.await.contains(&nobody.to_owned()));
    let status = json!({"status": {"allocatable": {"cpu": "8"}, "capacity": {"cpu": "8"}}});
    let patch = coracle_client::Patch::Merge(status);
    world.api.patch(&NODES, &ObjectKey::cluster("small"), "status", patch).await.expect("patched");
    assert_eq!(world.bound("big").await, "small");
    assert_eq!(condition(&world.pod("big").await)["status"], "True");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_leaves_makes_room() {
    let world = World::new().await;
    world.add_node("a").await;
    world.add_pod("first", 3000).await;
    world.bound("first").await;
    world.add_pod("second", 2000).await;
    let why = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption \
               victims found for incoming pod.";
    assert_eq!(world.refused("second").await, ("Unschedulable".into(), why.into()));
    assert_eq!(world.complaints("second").await, [why]);
    world.delete_pod("first").await;
    assert_eq!(world.bound("second").await, "a");
}

#[tokio::test(start_paused = true)]
async fn gates_hold_a_pod_back() {
    let world = World::new().await;
    world.add_node("a").await;
    let mut gated = pod("gated", 100);
    gated["spec"]["schedulingGates"] = json!([{"name": "example.com/quota"}]);
    world.add(gated).await;
    let why = "Scheduling is blocked due to non-empty scheduling gates";
    assert_eq!(world.refused("gated").await, ("SchedulingGated".into(), why.into()));
    world.patch_pod("gated", json!({"spec": {"schedulingGates": null}})).await;
    assert_eq!(world.bound("gated").await, "a");
}

#[tokio::test(start_paused = true)]
async fn pods_of_other_schedulers_are_left_alone() {
    let world = World::new().await;
    world.add_node("a").await;
    let mut other = pod("other", 100);
    other["spec"]["schedulerName"] = "mine".into();
    world.add(other).await;
    world.add_pod("ours", 100).await;
    world.bound("ours").await;
    let other = world.pod("other").await;
    assert_eq!((&other["spec"]["nodeName"], &condition(&other)), (&Value::Null, &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn cordoned_nodes_take_no_pods_until_they_are_opened_again() {
    let world = World::new().await;
    world.add_node_with("a", json!({}), json!({"unschedulable": true})).await;
    world.add_pod("p", 100).await;
    let why = "0/1 nodes are available: 1 node(s) were unschedulable. preemption: 0/1 nodes are available: 1 \
               Preemption is not helpful for scheduling.";
    assert_eq!(world.refused("p").await.1, why);
    world.patch(&NODES, &ObjectKey::cluster("a"), json!({"spec": {"unschedulable": null}})).await;
    assert_eq!(world.bound("p").await, "a");
}

#[tokio::test(start_paused = true)]
async fn the_more_important_pod_is_first_though_it_came_last() {
    let mut world = World::idle().await;
    world.add_node("a").await;
    world.add_pod("usual", 3000).await;
    let mut critical = pod("critical", 3000);
    critical["spec"]["priorityClassName"] = "system-cluster-critical".into();
    world.add(critical).await;
    world.start();
    assert_eq!(world.bound("critical").await, "a");
    assert!(world.refused("usual").await.1.contains("1 Insufficient cpu"));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_comes_to_tolerate_a_taint_is_tried_again() {
    let world = World::new().await;
    let taints = json!({"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]});
    world.add_node_with("a", json!({}), taints).await;
    world.add_pod("p", 100).await;
    let why = world.refused("p").await.1;
    assert!(why.starts_with("0/1 nodes are available: 1 node(s) had untolerated taint {gpu: yes}."), "{why}");
    let mut tolerations = world.pod("p").await["spec"]["tolerations"].clone();
    tolerations.as_array_mut().expect("the default ones").push(json!({"key": "gpu", "operator": "Exists"}));
    world.patch_pod("p", json!({"spec": {"tolerations": tolerations}})).await;
    assert_eq!(world.bound("p").await, "a");
}

#[tokio::test(start_paused = true)]
async fn pods_made_again_under_their_name_while_waiting_are_scheduled() {
    let world = World::new().await;
    world.add_node("a").await;
    // Several, for what is told of a pod's two lives comes in any order.
    let names: Vec<String> = (0..8).map(|n| format!("p{n}")).collect();
    for name in &names {
        world.add_pod(name, 9000).await;
    }
    for name in &names {
        world.refused(name).await;
    }
    for name in &names {
        world.delete_pod(name).await;
        world.add_pod(name, 100).await;
    }
    for name in &names {
        assert_eq!(world.bound(name).await, "a");
    }
}

#[tokio::test(start_paused = true)]
async fn pods_that_shun_each_other_get_nodes_of_their_own() {
    let world = World::new().await;
    for name in ["a", "b"] {
        world.add_node_with(name, json!({"kubernetes.io/hostname": name}), json!({})).await;
    }
    let lonely = |name: &str| {
        let mut pod = pod(name, 100);
        pod["metadata"]["labels"] = json!({"app": "lonely"});
        let term =
            json!({"labelSelector": {"matchLabels": {"app": "lonely"}}, "topologyKey": "kubernetes.io/hostname"});
        pod["spec"]["affinity"] =
            json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
        pod
    };
    for name in ["1", "2"] {
        world.add(lonely(name)).await;
    }
    let nodes = [world.bound("1").await, world.bound("2").await];
    assert_eq!(BTreeSet::from(nodes).len(), 2);
    world.add(lonely("3")).await;
    let why = "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules. preemption: 0/2 nodes are \
               available: 2 No preemption victims found for incoming pod.";
    assert_eq!(world.refused("3").await.1, why);
    let node = world.bound("1").await;
    world.delete_pod("1").await;
    assert_eq!(world.bound("3").await, node);
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_for_the_company_it_needs() {
    let world = World::new().await;
    for name in ["a", "b"] {
        world.add_node_with(name, json!({"kubernetes.io/hostname": name}), json!({})).await;
    }
    let mut web = pod("web", 100);
    let term = json!({"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "kubernetes.io/hostname",
                      "namespaceSelector": {"matchLabels": {"team": "data"}}});
    web["spec"]["affinity"] = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    world.add(web).await;
    let why = world.refused("web").await.1;
    assert!(why.starts_with("0/2 nodes are available: 2 node(s) didn't match pod affinity rules."), "{why}");
    world.add_pod("db", 100).await;
    let node = world.bound("db").await;
    world.patch(&NAMESPACES, &ObjectKey::cluster(NS), json!({"metadata": {"labels": {"team": "data"}}})).await;
    assert_eq!(world.bound("web").await, node);
}

#[tokio::test(start_paused = true)]
async fn replicas_spread_evenly_over_zones() {
    let world = World::new().await;
    for (name, zone) in [("a", "1"), ("b", "1"), ("c", "1"), ("d", "2")] {
        world.add_node_with(name, json!({"zone": zone}), json!({})).await;
    }
    for n in 0..6 {
        let mut pod = pod(&format!("p{n}"), 100);
        pod["metadata"]["labels"] = json!({"app": "web"});
        pod["spec"]["topologySpreadConstraints"] = json!([{"maxSkew": 1, "topologyKey": "zone",
            "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}}]);
        world.add(pod).await;
    }
    let mut on_d = 0;
    for n in 0..6 {
        on_d += usize::from(world.bound(&format!("p{n}")).await == "d");
    }
    assert_eq!(on_d, 3, "the only node of the second zone takes half of them");
}
