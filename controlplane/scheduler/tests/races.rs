//! Bindings that something gets in the way of, and much at once: the loop loses no pod and never over-commits a node.

mod world;

use coracle_apiserver::UserInfo;
use coracle_proto::{Tree, meta};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use world::trouble::{Trouble, Troubled};
use world::{World, condition, pod};

async fn troubled(trouble: Trouble) -> World {
    let mut world = World::idle().await;
    let api = world.registry.client(UserInfo::scheduler());
    let admin = world.api.clone();
    world.start_as(Arc::new(Troubled { api, admin, trouble, over: AtomicBool::new(false) }));
    world
}

#[tokio::test(start_paused = true)]
async fn a_refused_binding_is_tried_again() {
    let world = troubled(Trouble::Refused).await;
    world.add_node("a").await;
    world.add_pod("p", 3000).await;
    assert_eq!(world.bound("p").await, "a");
    let complaints = world.complaints("p").await;
    assert!(complaints.iter().any(|message| message.contains("the store is away")), "{complaints:?}");
}

#[tokio::test(start_paused = true)]
async fn who_was_bound_by_another_keeps_that_node_and_frees_the_one_meant_for_it() {
    let world = troubled(Trouble::BoundTo("b")).await;
    world.add_node("a").await;
    world.add_pod("p", 3000).await;
    assert_eq!(world.bound("p").await, "b");
    // It fits only if the first pod does not count on `a` any more.
    world.add_pod("q", 3000).await;
    assert_eq!(world.bound("q").await, "a");
    assert_eq!(condition(&world.pod("p").await)["status"], "True");
    // And once its node is there the first one counts there.
    world.add_node("b").await;
    world.add_pod("r", 2000).await;
    assert!(world.refused("r").await.1.contains("2 Insufficient cpu"));
}

#[tokio::test(start_paused = true)]
async fn a_pod_made_again_while_it_is_being_bound_is_scheduled_as_itself() {
    let mut again = pod("p", 3000);
    again["metadata"]["labels"]["life"] = "second".into();
    let world = troubled(Trouble::Reborn(again)).await;
    world.add_node("a").await;
    world.add_pod("p", 3000).await;
    world
        .until("the second life is bound", || async {
            let pod = world.pod("p").await;
            (pod["metadata"]["labels"]["life"] == "second" && pod["spec"]["nodeName"] == "a").then_some(())
        })
        .await;
    world.add_pod("q", 1000).await;
    assert_eq!(world.bound("q").await, "a", "only one of its lives counts");
}

/// Thousandths of a CPU.
fn wants(pod: &Tree) -> u64 {
    let text = pod["spec"]["containers"][0]["resources"]["requests"]["cpu"].as_str().unwrap_or("0");
    match text.strip_suffix('m') {
        Some(milli) => milli.parse().expect("a number"),
        None => text.parse::<u64>().expect("a number") * 1000,
    }
}

/// What each node's pods ask for; asserts that it has as much.
fn taken(pods: &[Tree], seed: u64) -> BTreeMap<String, u64> {
    let mut taken = BTreeMap::new();
    for pod in pods {
        if let Some(node) = pod["spec"]["nodeName"].as_str() {
            *taken.entry(node.to_owned()).or_insert(0) += wants(pod);
        }
    }
    assert!(taken.values().all(|milli_cpu| *milli_cpu <= 4000), "seed {seed}: over-committed: {taken:?}");
    taken
}

/// Pods of all sizes come and go; at no moment a node has more than fits, and in the end only those wait that fit nowhere.
async fn churn(seed: u64) {
    let world = World::new().await;
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut random = |below: u64| {
        // Knuth's constants; the low bits are poor.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let nodes = 3 + random(3);
    for n in 0..nodes {
        world.add_node(&format!("n{n}")).await;
    }
    for step in 0..60 {
        match random(4) {
            0 => {
                let pods = world.pods().await;
                taken(&pods, seed);
                if !pods.is_empty() {
                    let at = random(pods.len() as u64) as usize;
                    world.delete_pod(meta::name(&pods[at])).await;
                }
            }
            _ => world.add_pod(&format!("p{step}"), 100 + 100 * random(20)).await,
        }
    }
    world
        .until("only those wait that fit nowhere", || async {
            let pods = world.pods().await;
            let taken = taken(&pods, seed);
            let emptiest = (0..nodes).map(|n| taken.get(&format!("n{n}")).copied().unwrap_or(0)).min()?;
            let waiting = pods.iter().filter(|pod| pod["spec"]["nodeName"].is_null());
            waiting.map(wants).all(|milli_cpu| emptiest + milli_cpu > 4000).then_some(())
        })
        .await;
}

/// `CORACLE_CHURNS` runs more of them.
#[tokio::test(start_paused = true)]
async fn nodes_are_never_over_committed_and_no_pod_is_forgotten() {
    let runs = std::env::var("CORACLE_CHURNS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    for seed in 0..runs {
        churn(seed).await;
    }
}
