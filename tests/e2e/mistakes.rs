//! What a user gets wrong at the start: one line each that says what to do, and nothing harmed.

use coracle_tests::{Cluster, Need, Options, can_run};
use std::os::unix::process::CommandExt;
use std::process::Output;

fn refused(output: &Output) -> String {
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().rev().find(|l| l.starts_with("error: ")).unwrap_or_else(|| panic!("no error line: {text}"));
    line.to_owned()
}

#[test]
fn without_root_it_says_so() {
    if !can_run(&[Need::Root]) {
        return;
    }
    let output = coracle_tests::coracle(&["up", "--data-dir", "/tmp/coracle-nobody"]).uid(65534).gid(65534).output();
    match output {
        Ok(output) => assert!(refused(&output).contains("run it with sudo")),
        // The workspace may lie where nobody can reach it; then a copy must do.
        Err(_) => {
            let copy = tempfile::tempdir_in("/tmp").expect("a directory");
            let program = copy.path().join("coracle");
            let from = coracle_tests::coracle(&[]).get_program().to_owned();
            std::fs::copy(from, &program).expect("copied");
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(copy.path(), open).expect("opened");
            let output = std::process::Command::new(program).arg("up").uid(65534).gid(65534).output();
            assert!(refused(&output.expect("it starts")).contains("run it with sudo"));
        }
    }
}

#[test]
fn a_taken_port_a_directory_in_use_and_damage_are_told() {
    if !can_run(&[Need::Root, Need::Kubectl]) {
        return;
    }
    let cluster = Cluster::up();
    let other = Cluster::prepared(Options::default());
    let command = |dir: &std::path::Path, listen: &str| {
        let mut command = coracle_tests::coracle(&["up", "--detach", "--listen", listen, "--data-dir"]);
        command.arg(dir).arg("--kubeconfig").arg(other.kubeconfig()).output().expect("coracle starts")
    };
    let taken = refused(&command(&other.data_dir(), cluster.listen()));
    assert!(taken.contains(&format!("{} is taken", cluster.listen())) && taken.contains("--listen"), "{taken}");
    let in_use = refused(&command(&cluster.data_dir(), other.listen()));
    assert!(in_use.contains("in use by another process") && in_use.contains("--data-dir"), "{in_use}");

    cluster.down(&[]);
    let key = cluster.data_dir().join("pki/ca.key");
    let whole = std::fs::read(&key).expect("the authority's key");
    std::fs::write(&key, "nonsense").expect("damaged");
    let damaged = refused(&cluster.try_start());
    assert!(damaged.contains("pki/ca.key") && damaged.contains("backup"), "{damaged}");
    std::fs::write(&key, whole).expect("restored");
    cluster.start();
}

#[test]
fn two_clusters_live_side_by_side() {
    if !can_run(&[Need::Root, Need::Kubectl]) {
        return;
    }
    let (one, two) = (Cluster::up(), Cluster::up());
    for cluster in [&one, &two] {
        let kubectl = cluster.kubectl();
        kubectl.ok(&["create", "deployment", "web", "--image=coracle/demo:v1"]);
        kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    }
    let address = |c: &Cluster| c.kubectl().ok(&["get", "pods", "-o", "jsonpath={.items[0].status.podIP}"]);
    assert_ne!(address(&one), address(&two));
    one.down(&["--purge"]);
    assert!(two.kubectl().ok(&["get", "pods"]).contains("Running"));
}
