//! The README's first minutes, as a new user would live them.

use coracle_tests::{Cluster, Marks, Need, can_run, eventually};

#[test]
fn a_deployment_answers_over_its_service_and_nothing_stays_behind() {
    if !can_run(&[Need::Root, Need::Kubectl]) {
        return;
    }
    let cluster = Cluster::up();
    let marks = Marks::of(&cluster);
    assert!(!marks.found().is_empty(), "a running cluster has marks");
    let kubectl = cluster.kubectl();
    assert!(kubectl.ok(&["get", "nodes"]).contains(" Ready "));

    kubectl.ok(&["create", "deployment", "hello", "--image", "coracle/demo:v1", "--replicas", "2"]);
    kubectl.ok(&["expose", "deployment", "hello", "--port", "80", "--target-port", "8080"]);
    kubectl.ok(&["rollout", "status", "deployment/hello", "--timeout", "60s"]);
    let address = kubectl.ok(&["get", "service", "hello", "-o", "jsonpath={.spec.clusterIP}"]);
    let answer = eventually("the service answers", || get(&address, 80, "/"));
    assert!(answer.contains("v1"), "{answer}");

    let logs = kubectl.ok(&["logs", "deployment/hello"]);
    assert!(!logs.is_empty());
    let output = kubectl.run(&["exec", "deployment/hello", "--", "/coracle", "--version"]);
    assert!(output.succeeded().stdout.starts_with("coracle "));

    cluster.down(&["--purge"]);
    // The last processes have ended when `down` returns; whoever reaps them may take a moment.
    eventually("nothing stays behind", || match marks.found() {
        found if found.is_empty() => Ok(()),
        found => Err(found),
    });
    assert!(!cluster.data_dir().exists());
}

fn get(address: &str, port: u16, path: &str) -> Result<String, std::io::Error> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect((address, port))?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
