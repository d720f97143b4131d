//! The figures that README quotes: how fast a cluster starts, how fast a pod does, what an idle cluster costs.
//!
//! `cargo bench -p coracle-tests --bench figures` (root). Uses `CORACLE_BIN`, or builds and uses the release binary.
//! Where `dockerd` is installed, `docker run` of the same files is timed in the same run, turn by turn.

mod docker;
mod usage;

use anyhow::{Context, Result};
use coracle_tests::{Api, Cluster, Options, within};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const STARTS: usize = 5;
const PODS: usize = 20;
const IDLE: Duration = Duration::from_secs(20);

fn main() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: the figures need root");
        return Ok(());
    }
    release_binary()?;
    starts()?;
    let cluster = Cluster::up();
    let api = Api::from_kubeconfig(&cluster.kubeconfig())?;
    pods(&api)?;
    idle(&cluster)
}

/// Benchmarks are for what users run.
fn release_binary() -> Result<()> {
    if std::env::var_os("CORACLE_BIN").is_none() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = std::process::Command::new(cargo).args(["build", "--release"]).current_dir(root).status()?;
        anyhow::ensure!(status.success(), "the release binary does not build");
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
        coracle_tests::use_binary(target.join("release/coracle"));
    }
    let size = std::fs::metadata(coracle_tests::coracle(&[]).get_program())?.len();
    println!("binary: {:.1} MB", size as f64 / 1e6);
    Ok(())
}

/// From process start on a fresh directory.
fn starts() -> Result<()> {
    let mut rows: [Vec<Duration>; 3] = Default::default();
    for _ in 0..STARTS {
        let cluster = Cluster::prepared(Options::default());
        let start = Instant::now();
        let mut process = cluster.spawn_foreground();
        let patience = Duration::from_secs(20);
        let api =
            within(patience, "a kubeconfig", || Api::from_kubeconfig(&cluster.data_dir().join("admin.kubeconfig")));
        within(patience, "the API is ready", || api.get("/readyz"));
        rows[0].push(start.elapsed());
        within(patience, "a pod is taken", || api.post("/api/v1/namespaces/default/pods", &pod("first")));
        within(patience, "the node is Ready", || {
            let nodes = api.get("/api/v1/nodes")?;
            is_true(&nodes["items"][0], "Ready")
        });
        rows[1].push(start.elapsed());
        within(patience, "the pod is Ready", || is_true(&api.get("/api/v1/namespaces/default/pods/first")?, "Ready"));
        rows[2].push(start.elapsed());
        cluster.down(&["--purge"]);
        process.wait()?;
    }
    for (what, times) in ["API ready", "node Ready", "first pod Ready"].iter().zip(rows) {
        print("start", what, times);
    }
    Ok(())
}

/// Create → Ready without probes, the image present, beside `docker run` → running.
fn pods(api: &Api) -> Result<()> {
    let docker = docker::Engine::start()?;
    let mut connection = api.connect()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for n in 0..PODS {
        let name = format!("bench-{n}");
        let start = Instant::now();
        connection.ok(hyper::Method::POST, "/api/v1/namespaces/default/pods", Some(&pod(&name)))?;
        let path = format!("/api/v1/namespaces/default/pods/{name}");
        loop {
            if is_true(&connection.ok(hyper::Method::GET, &path, None)?, "Ready").is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        ours.push(start.elapsed());
        connection.ok(hyper::Method::DELETE, &format!("{path}?gracePeriodSeconds=0"), None)?;
        if let Some(docker) = &docker {
            theirs.push(docker.run()?);
        }
    }
    let median = print("pod", "create to Ready", ours);
    match docker {
        Some(_) => {
            let docker = print("pod", "docker run to running", theirs);
            println!("ratio to docker run: {:.2}", median.as_secs_f64() / docker.as_secs_f64());
        }
        None => println!("docker run: not measured, dockerd is not installed"),
    }
    Ok(())
}

fn idle(cluster: &Cluster) -> Result<()> {
    let pids = usage::family(cluster.pid())?;
    let before = usage::cpu(&pids)?;
    std::thread::sleep(IDLE);
    let cpu = usage::cpu(&pids)? - before;
    println!("idle: {:.1} MB resident (proportional, {} processes)", usage::memory(&pids)? as f64 / 1e6, pids.len());
    println!("idle: {:.2} % of a core over {IDLE:?}", cpu.as_secs_f64() / IDLE.as_secs_f64() * 100.0);
    Ok(())
}

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "demo", "image": "coracle/demo:v1"}]}})
}

fn is_true(object: &Value, condition: &str) -> Result<()> {
    let conditions = object["status"]["conditions"].as_array().context("no conditions yet")?;
    let found = conditions.iter().any(|c| c["type"] == condition && c["status"] == "True");
    anyhow::ensure!(found, "{condition} is not true: {conditions:?}");
    Ok(())
}

/// Prints minimum, median and maximum; returns the median.
fn print(group: &str, what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let (first, last, median) = (times[0], times[times.len() - 1], times[times.len() / 2]);
    println!("{group}: {what}: median {median:.1?} (min {first:.1?}, max {last:.1?}, {} runs)", times.len());
    median
}
