//! Every file of `examples/`, applied as it stands: what is in it becomes ready, and its services answer.

use coracle_tests::{Cluster, Kubectl, Need, WebImage, can_run, eventually, fetch, web_archive};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The one image that is not built in: here it comes from an archive, for no registry may be in reach.
const PULLED: WebImage = WebImage { name: "busybox:1.36", version: "1.36", port: 80 };

#[test]
fn every_example_runs_as_it_stands() {
    if !can_run(&[Need::Root, Need::Kubectl, Need::Busybox]) {
        return;
    }
    let cluster = Cluster::up();
    let archive = web_archive(cluster.scratch(), &[PULLED]).expect("the archive is written");
    let mut import = coracle_tests::coracle(&["image", "--data-dir"]);
    let output = import.arg(cluster.data_dir()).arg("import").arg(archive).output().expect("coracle starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let kubectl = cluster.kubectl();
    let files = files();
    assert!(!files.is_empty());
    for file in &files {
        let text = std::fs::read_to_string(file).expect("an example");
        let head: Vec<&str> = text.lines().take_while(|line| line.starts_with('#')).collect();
        assert!(head.iter().any(|line| line.contains("Look at:")), "{} does not say what to look at", file.display());
        is_ready(&kubectl, file);
        kubectl.ok(&["delete", "--now", "-f", path(file)]);
    }
}

#[track_caller]
fn is_ready(kubectl: &Kubectl, file: &Path) {
    kubectl.ok(&["apply", "-f", path(file)]);
    for object in objects(kubectl, file) {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        match object["kind"].as_str() {
            Some("Deployment") => {
                let name = format!("deployment/{name}");
                kubectl.ok(&["rollout", "status", &name, "--timeout=120s"]);
            }
            Some("Pod") => eventually(&format!("{}: pod {name} is ready", file.display()), || {
                let pod = kubectl.json(&["get", "pod", &name]);
                if has_done_its_part(&pod) { Ok(()) } else { Err(pod["status"].clone()) }
            }),
            _ => {}
        }
    }
    for service in objects(kubectl, file).iter().filter(|o| o["kind"] == "Service") {
        let address = service["spec"]["clusterIP"].as_str().unwrap_or_default();
        if address != "None" {
            let address = format!("{address}:{}", service["spec"]["ports"][0]["port"]);
            let (status, _) = eventually(&format!("{}: {address} answers", file.display()), || fetch(&address, "/"));
            assert_eq!(status, 200);
        }
    }
}

/// Ready, or ended well.
fn has_done_its_part(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let ready = conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True");
    ready || pod["status"]["phase"] == "Succeeded"
}

/// What the API holds of a file.
#[track_caller]
fn objects(kubectl: &Kubectl, file: &Path) -> Vec<Value> {
    let answer = kubectl.json(&["get", "-f", path(file)]);
    match answer["items"].as_array() {
        Some(items) => items.clone(),
        None => vec![answer],
    }
}

fn files() -> Vec<PathBuf> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let entries = dir.read_dir().expect("the examples").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
    files.sort();
    files
}

fn path(file: &Path) -> &str {
    file.to_str().expect("the path is text")
}
