//! Deployments: rolling updates keep to their bounds at every moment, undo restores, nothing is lost.

use crate::ground::{Ground, ground, is_ready};
use coracle_tests::{Manifest, Moment, Observation, eventually};
use serde_json::Value;
use std::process::Stdio;

/// What an update of a Deployment may do.
struct Bounds {
    /// Pods that are to be, over all revisions.
    at_most: u64,
    /// Ready pods that are to stay.
    at_least: usize,
}

/// The pods of a Deployment.
struct Which<'a> {
    namespace: &'a str,
    selector: &'a str,
    replicas: usize,
}

/// The sum of what the ReplicaSets are told. Upstream bounds this; pods that are already told to go may still run.
fn wanted(sets: &Moment) -> u64 {
    sets.values().map(|set| set["spec"]["replicas"].as_u64().unwrap_or_default()).sum()
}

fn ready(pods: &Moment) -> usize {
    pods.values().filter(|pod| is_ready(pod)).count()
}

/// Runs `change` and judges every moment of it, from the first with `replicas` ready pods.
#[track_caller]
fn keeps_within(ground: &Ground, which: &Which<'_>, bounds: &Bounds, change: impl FnOnce()) {
    let &Which { namespace, selector, replicas } = which;
    let pods = Observation::of(&ground.kubectl, &["pods", "-n", namespace, "-l", selector]);
    let sets = Observation::of(&ground.kubectl, &["replicasets", "-n", namespace, "-l", selector]);
    let settled = |pods: &Moment| ready(pods) == replicas;
    let awake = |sets: &Moment| wanted(sets) == replicas as u64;
    eventually("the watches show the start", || {
        let seen = !pods.moments_since(settled).is_empty() && !sets.moments_since(awake).is_empty();
        if seen { Ok(()) } else { Err("not yet") }
    });
    change();
    let last = eventually("the watches show the end", || {
        let pods = pods.moments_since(settled);
        let last = pods.last().cloned().unwrap_or_default();
        if last.len() == replicas && settled(&last) { Ok(pods) } else { Err(last.into_keys().collect::<Vec<_>>()) }
    });
    for moment in &last {
        assert!(ready(moment) >= bounds.at_least, "{} ready pods: {:?}", ready(moment), summary(moment));
    }
    for moment in sets.moments_since(awake) {
        assert!(wanted(&moment) <= bounds.at_most, "{} pods wanted: {:?}", wanted(&moment), summary(&moment));
    }
}

fn summary(moment: &Moment) -> Vec<(&String, &Value, &Value)> {
    moment.iter().map(|(name, object)| (name, &object["spec"]["replicas"], &object["status"])).collect()
}

#[track_caller]
fn images_are(ground: &Ground, namespace: &str, selector: &str, image: &str, count: usize) {
    eventually("all pods run one image", || {
        let pods = ground.pods(namespace, selector);
        let images: Vec<_> = pods.iter().map(|pod| pod["spec"]["containers"][0]["image"].clone()).collect();
        if images.len() == count && images.iter().all(|found| *found == image) { Ok(()) } else { Err(images) }
    });
}

#[test]
fn the_guide_s_rolling_update_keeps_to_surge_2_and_unavailable_1_and_undo_restores() {
    let Some(ground) = ground(&[]) else { return };
    Manifest::of("001/basic-deployment.yaml").apply(&ground.kubectl);
    ground.rolled_out("default", "user-service");
    images_are(&ground, "default", "app=user-service", "user-service:1.0.0", 3);
    Manifest::of("001/rolling-update.yaml").apply(&ground.kubectl);
    ground.rolled_out("default", "user-service");
    images_are(&ground, "default", "app=user-service", "user-service:2.0.0", 5);

    let undo = |to: &str| {
        let which = Which { namespace: "default", selector: "app=user-service", replicas: 5 };
        keeps_within(&ground, &which, &Bounds { at_most: 7, at_least: 4 }, || {
            ground.kubectl.ok(&["rollout", "undo", "deployment/user-service"]);
            ground.rolled_out("default", "user-service");
            images_are(&ground, "default", "app=user-service", to, 5);
        });
    };
    undo("user-service:1.0.0");
    undo("user-service:2.0.0");
    let history = ground.kubectl.ok(&["rollout", "history", "deployment/user-service"]);
    let revisions: Vec<_> = history.lines().filter_map(|line| line.split(' ').next()?.parse::<u32>().ok()).collect();
    assert_eq!(revisions, [3, 4], "{history}");
}

#[test]
fn the_fragment_of_a_rolling_update_keeps_all_five_available() {
    let Some(ground) = ground(&[]) else { return };
    Manifest::overlaid(&ground.kubectl, "002-rolling-update").apply(&ground.kubectl);
    ground.rolled_out("default", "nginx-deployment");
    let which = Which { namespace: "default", selector: "app=nginx", replicas: 5 };
    keeps_within(&ground, &which, &Bounds { at_most: 6, at_least: 5 }, || {
        ground.kubectl.ok(&["set", "image", "deployment/nginx-deployment", "nginx=nginx:1.26"]);
        ground.rolled_out("default", "nginx-deployment");
        images_are(&ground, "default", "app=nginx", "nginx:1.26", 5);
    });
    ground.kubectl.ok(&["rollout", "undo", "deployment/nginx-deployment"]);
    ground.rolled_out("default", "nginx-deployment");
    images_are(&ground, "default", "app=nginx", "nginx:1.25", 5);
}

#[test]
fn the_zero_downtime_strategy_loses_no_request() {
    let Some(ground) = ground(&[]) else { return };
    let frame = Manifest::of("overlays/002-zero-downtime/deployment.yaml");
    frame.with_fragment("/spec", "002/zero-downtime.yaml").apply(&ground.kubectl);
    ground.rolled_out("default", "zero-downtime");
    let address = ground.service("default", "zero-downtime");
    let mut load = coracle_tests::coracle(&["load", &address]);
    let mut load = load.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the load starts");
    let which = Which { namespace: "default", selector: "app=zero-downtime", replicas: 4 };
    keeps_within(&ground, &which, &Bounds { at_most: 6, at_least: 4 }, || {
        ground.kubectl.ok(&["set", "image", "deployment/zero-downtime", "app=coracle/demo:v2"]);
        ground.rolled_out("default", "zero-downtime");
        images_are(&ground, "default", "app=zero-downtime", "coracle/demo:v2", 4);
    });
    // The end of its input ends it.
    drop(load.stdin.take());
    let output = load.wait_with_output().expect("the load ends");
    let tally: Value = serde_json::from_slice(&output.stdout).expect("a tally");
    assert_eq!(tally["failed"], 0, "{tally}");
    assert!(tally["answered"].as_u64() > Some(100), "{tally}");
}

#[test]
fn the_production_deployment_waits_for_what_it_needs_migrates_and_updates_one_by_one() {
    let Some(ground) = ground(&[PRODUCTION]) else { return };
    let ns = PRODUCTION;
    Manifest::of("003/production-deployment.yaml").apply(&ground.kubectl);
    ground.told(ns, "FailedCreate", |event| {
        let message = event["message"].as_str().unwrap_or_default();
        message.contains("error looking up service account production/api-service")
            && message.contains("serviceaccount \"api-service\" not found")
    });
    Manifest::of("003/service-account.yaml").apply(&ground.kubectl);
    ground.told(ns, "FailedMount", |event| {
        event["message"].as_str().is_some_and(|m| m.contains("configmap \"api-config\" not found"))
    });
    Manifest::of("overlays/003-production-deployment/api-config.yaml").apply(&ground.kubectl);
    Manifest::of("003/secret.yaml").apply(&ground.kubectl);
    ground.rolled_out(ns, "api-service");
    has_what_it_asked_for(&ground);
    Manifest::of("003/cluster-ip.yaml").apply(&ground.kubectl);
    let address = ground.service(ns, "api-service");
    let answer = eventually("the Service answers", || coracle_tests::fetch(&address, "/"));
    assert!(answer.1.starts_with("v1.2.3 api-service-"), "{answer:?}");

    let which = Which { namespace: ns, selector: "app=api-service", replicas: 3 };
    keeps_within(&ground, &which, &Bounds { at_most: 4, at_least: 3 }, || {
        ground.kubectl.ok(&["-n", ns, "set", "image", "deployment/api-service", "*=api-service:v1.2.4"]);
        ground.rolled_out(ns, "api-service");
        images_are(&ground, ns, "app=api-service", "api-service:v1.2.4", 3);
    });
}

const PRODUCTION: &str = "production";

/// Migrated with its credentials, configured, as its user, with folders it may and may not write to.
fn has_what_it_asked_for(ground: &Ground) {
    let ns = PRODUCTION;
    let target = "deployment/api-service";
    let migration = ground.kubectl.ok(&["-n", ns, "logs", target, "-c", "migration"]);
    let url = "postgresql://admin:super-secret-password@db:5432/myapp";
    assert_eq!(migration.trim(), format!("npm run migrate on {url}"));
    let inside = |command: &str| ground.exec(ns, target, &["sh", "-c", command]);
    assert_eq!(inside("echo $NODE_ENV $PORT $DATABASE_URL").trim(), format!("production 8080 {url}"));
    assert_eq!(inside("id -u; cat /app/config/greeting").trim(), "1000\nhello");
    assert_eq!(inside("touch /app/cache/a && stat -c %g /app/cache").trim(), "1000");
    let read_only = ground.kubectl.run(&["-n", ns, "exec", target, "--", "touch", "/app/config/a"]).refused();
    assert!(read_only.contains("Read-only file system"), "{read_only}");
    for pod in ground.pods(ns, "app=api-service") {
        let init = &pod["status"]["initContainerStatuses"][0]["state"]["terminated"];
        let main = &pod["status"]["containerStatuses"][0];
        assert_eq!(init["reason"], "Completed", "{pod}");
        assert!(init["finishedAt"].as_str() <= main["state"]["running"]["startedAt"].as_str(), "{pod}");
        assert_eq!(main["restartCount"], 0, "{pod}");
    }
}
