//! Prints how many pods a second the scheduling cycle places on 500 nodes, alone: no API, no queue.
//!
//! `cargo run --release -p coracle-scheduler --example pods_per_second [pods]`

use coracle_client::facts::{NodeFacts, PodFacts, Project};
use coracle_proto::{ApiError, Object};
use coracle_scheduler::cycle::schedule;
use coracle_scheduler::world::World;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

const NODES: usize = 500;
/// Pods of one workload; no more of them than nodes, so that each finds one of its own.
const REPLICAS: usize = 100;

fn main() -> Result<(), ApiError> {
    let pods = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(3000);
    run("plain", pods, |_| json!({}))?;
    run("required anti-affinity by node", pods, |app| {
        let term = json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": "kubernetes.io/hostname"});
        json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
    })?;
    run("spread over zones", pods, |app| {
        json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone",
            "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": app}}}]})
    })
}

fn run(what: &str, count: usize, rules: impl Fn(&str) -> Value) -> Result<(), ApiError> {
    let mut world = World::default();
    for n in 0..NODES {
        let labels = json!({"kubernetes.io/hostname": format!("node-{n}"), "zone": format!("zone-{}", n % 3)});
        world.set_node(project::<NodeFacts>(&json!({
            "metadata": {"name": format!("node-{n}"), "labels": labels},
            "status": {"allocatable": {"cpu": "32", "memory": "64Gi", "pods": "110"}},
        }))?);
    }
    let pods = (0..count).map(|n| pod(n, &rules)).collect::<Result<Vec<_>, _>>()?;
    let (start, mut placed) = (Instant::now(), 0);
    for (chance, pod) in pods.into_iter().enumerate() {
        let node = schedule(&pod, &world.snapshot(), chance as u64).node;
        if let Some(node) = node {
            world.assume(pod, &node);
            placed += 1;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{what}: {placed} of {count} pods placed, {:.0} pods/s", count as f64 / seconds);
    Ok(())
}

fn pod(n: usize, rules: &impl Fn(&str) -> Value) -> Result<Arc<PodFacts>, ApiError> {
    let app = format!("app-{}", n / REPLICAS);
    let mut spec = rules(&app);
    spec["containers"] = json!([{"image": "web:1", "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}]);
    let meta =
        json!({"name": format!("pod-{n}"), "namespace": "default", "uid": n.to_string(), "labels": {"app": app}});
    project(&json!({"metadata": meta, "spec": spec}))
}

fn project<T: Project>(tree: &Value) -> Result<Arc<T>, ApiError> {
    T::project(&Object { revision: 1, json: tree.to_string().into() }).map(Arc::new)
}
