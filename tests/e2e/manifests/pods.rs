//! Pods: one container, several that share a volume and the network, and init containers that go first.

use crate::ground::ground;
use coracle_tests::{Manifest, eventually, fetch};

#[test]
fn the_simple_pod_runs_with_its_labels_limits_and_port() {
    let Some(ground) = ground(&[]) else { return };
    Manifest::of("003/simple-pod.yaml").apply(&ground.kubectl);
    let pod = ground.kubectl.json(&["get", "pod", "nginx"]);
    assert_eq!(pod["status"]["qosClass"], "Burstable");
    assert_eq!(pod["metadata"]["labels"]["environment"], "production");
    ground.ready("default", "nginx");
    let pod = ground.kubectl.json(&["get", "pod", "nginx"]);
    let address = pod["status"]["podIP"].as_str().expect("an address");
    let answer = fetch(&format!("{address}:80"), "/").expect("it answers");
    assert_eq!(answer, (200, "1.25 nginx\n".to_owned()));
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!((&status["image"], &status["ready"]), (&"nginx:1.25".into(), &true.into()), "{pod}");
}

#[test]
fn the_sidecar_ships_what_the_application_logs() {
    let Some(ground) = ground(&[]) else { return };
    Manifest::of("003/sidecar-pod.yaml").apply(&ground.kubectl);
    ground.ready("default", "app-with-logging");
    let inside = |container: &str, command: &str| {
        ground.kubectl.run(&["exec", "app-with-logging", "-c", container, "--", "sh", "-c", command])
    };
    inside("app", "echo order 17 has been paid >> /var/log/app/app.log").succeeded();
    let shipped = eventually("the line is shipped", || {
        let logs = ground.kubectl.run(&["logs", "app-with-logging", "-c", "log-shipper"]);
        logs.when(|text| text.contains("order 17 has been paid"))
    });
    assert!(shipped.lines().any(|line| line == "1.0 has started"), "{shipped}");
    let refused = inside("log-shipper", "echo x >> /var/log/app/app.log").refused();
    assert!(refused.contains("Read-only file system"), "{refused}");
    // One network for both: the application is at the sidecar's own localhost.
    let answer = inside("log-shipper", "wget -qO- http://localhost:8080/").succeeded();
    assert_eq!(answer.stdout, "1.0 app-with-logging\n");
    let both = ["app", "log-shipper"].map(|container| inside(container, "cat /etc/hosts; hostname").succeeded().stdout);
    assert_eq!(both[0], both[1]);
    // Each has a file system of its own.
    inside("app", "echo mine > /tmp/file").succeeded();
    inside("log-shipper", "cat /tmp/file").refused();
}

#[test]
fn the_migration_runs_to_its_end_before_the_application_starts() {
    let Some(ground) = ground(&[]) else { return };
    let frame = Manifest::of("overlays/002-migration-init-container/pod.yaml");
    let pod = frame
        .with_fragment("", "002/migration-init-container.yaml")
        // The tag is `latest`, which is pulled each time; no registry is in reach.
        .with("/spec/containers/0/imagePullPolicy", "IfNotPresent");
    pod.apply(&ground.kubectl);
    ground.ready("default", "migrated");
    let logs = ground.kubectl.ok(&["logs", "migrated", "-c", "migrate"]);
    assert_eq!(logs, "alembic upgrade head on no database\n");
    let status = ground.kubectl.json(&["get", "pod", "migrated"])["status"].clone();
    let migration = &status["initContainerStatuses"][0]["state"]["terminated"];
    assert_eq!((&migration["exitCode"], &migration["reason"]), (&0.into(), &"Completed".into()), "{status}");
    let started = &status["containerStatuses"][0]["state"]["running"]["startedAt"];
    assert!(migration["finishedAt"].as_str() <= started.as_str(), "{status}");

    // A migration that fails keeps the application from starting.
    let failing = pod.with("/metadata/name", "failing").with("/spec/initContainers/0/command", ["false"].as_slice());
    failing.with("/spec/restartPolicy", "Never").apply(&ground.kubectl);
    let status = eventually("the pod has failed", || {
        let status = ground.kubectl.json(&["get", "pod", "failing"])["status"].clone();
        if status["phase"] == "Failed" { Ok(status) } else { Err(status) }
    });
    assert_eq!(status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"], 1, "{status}");
    assert_eq!(status["containerStatuses"][0]["state"]["waiting"]["reason"], "PodInitializing", "{status}");
}
