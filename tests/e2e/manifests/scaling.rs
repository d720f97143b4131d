//! Scaling by hand, by the commands that the document lists.

use crate::ground::ground;
use coracle_tests::{eventually, manifests_dir};

#[test]
fn the_listed_scale_commands_do_what_they_say() {
    let Some(ground) = ground(&[]) else { return };
    let script = std::fs::read_to_string(manifests_dir().join("002/manual-scaling.sh")).expect("the commands");
    let commands: Vec<Vec<&str>> =
        script.lines().filter_map(|line| Some(line.strip_prefix("kubectl ")?.split(' ').collect())).collect();
    // The one in the middle is about a StatefulSet, which is a system of its own.
    let [to_five, _, from_five_to_ten] = commands.as_slice() else { panic!("three commands, not {commands:?}") };
    ground.kubectl.ok(&["create", "deployment", "nginx", "--image=nginx:1.25"]);
    let pods_become = |count: &str| {
        eventually("the Deployment has that many ready pods", || {
            let found = ground.field("default", "deployment/nginx", ".status.readyReplicas");
            if found == count { Ok(()) } else { Err(found) }
        });
    };
    pods_become("1");
    let refused = ground.kubectl.run(from_five_to_ten).refused();
    assert_eq!(refused.trim(), "error: Expected replicas to be 5, was 1");
    assert_eq!(ground.field("default", "deployment/nginx", ".spec.replicas"), "1");

    assert_eq!(ground.kubectl.ok(to_five).trim(), "deployment.apps/nginx scaled");
    pods_become("5");
    assert_eq!(ground.kubectl.ok(from_five_to_ten).trim(), "deployment.apps/nginx scaled");
    pods_become("10");
    ground.kubectl.run(from_five_to_ten).refused();
    assert_eq!(ground.field("default", "deployment/nginx", ".spec.replicas"), "10");
    ground.kubectl.ok(&["scale", "deployment", "nginx", "--replicas=0"]);
    eventually("all pods have gone", || {
        ground.kubectl.run(&["get", "pods", "-o", "name"]).when(|text| text.is_empty())
    });
}
