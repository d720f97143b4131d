//! Rollouts played through on the plan alone: a small world carries out each plan, makes pods, and makes them ready.

use super::objects::{Deployment, Set};
use super::plan::{Plan, plan};
use super::{revision, status};
use crate::conditions;
use coracle_client::PodFacts;
use coracle_proto::{Object, Tree, time};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

struct World {
    deployment: Tree,
    sets: Vec<Tree>,
    now: Timestamp,
    /// Names of deleted sets.
    deleted: Vec<String>,
    /// Sizes written, as `name from→to`.
    scaled: Vec<String>,
    /// Images whose pods never become available.
    broken: Vec<&'static str>,
    made: u32,
}

fn object(tree: &Tree) -> Object {
    Object { revision: 1, json: tree.to_string().into() }
}

impl World {
    fn new(replicas: i32, strategy: Tree) -> Self {
        let deployment = json!({
            "metadata": {"name": "web", "namespace": "ns", "uid": "d", "generation": 1,
                         "annotations": {"team": "x", "kubectl.kubernetes.io/last-applied-configuration": "{}"}},
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "strategy": strategy,
                "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10,
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "v1"}]}},
            },
            "status": {},
        });
        let now = time::parse("2026-01-01T00:00:00Z").expect("valid");
        Self { deployment, sets: vec![], now, deleted: vec![], scaled: vec![], broken: vec![], made: 0 }
    }

    fn set_image(&mut self, image: &str) {
        self.deployment["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
        self.edited();
    }

    fn scale(&mut self, replicas: i32) {
        self.deployment["spec"]["replicas"] = replicas.into();
        self.edited();
    }

    fn edited(&mut self) {
        let generation = self.deployment["metadata"]["generation"].as_i64().unwrap_or(0);
        self.deployment["metadata"]["generation"] = (generation + 1).into();
    }

    fn plan(&self, pods: &[Arc<PodFacts>]) -> Plan {
        let sets = self.sets.iter().map(|set| Set::read(&object(set)).expect("a good set")).collect();
        let deployment = Deployment::read(&object(&self.deployment)).expect("a good deployment");
        plan(&deployment, sets, pods, self.now).expect("a plan")
    }

    /// Carries out one plan; returns whether it wrote anything to sets.
    fn step(&mut self) -> bool {
        let plan = self.plan(&[]);
        let busy = !plan.writes.is_empty() || !plan.deletions.is_empty();
        for write in plan.writes {
            let set = write.set;
            if set.found != set.replicas {
                self.scaled.push(format!("{} {}→{}", image(&set.tree), set.found, set.replicas));
            }
            let mut tree = set.tree.clone();
            match self.sets.iter_mut().find(|s| s["metadata"]["name"] == tree["metadata"]["name"]) {
                Some(found) => *found = tree,
                None => {
                    self.made += 1;
                    tree["metadata"]["uid"] = format!("s{}", self.made).into();
                    tree["metadata"]["creationTimestamp"] = time::render(self.now).into();
                    self.sets.push(tree);
                }
            }
        }
        for set in plan.deletions {
            self.deleted.push(image(&set.tree));
            self.sets.retain(|s| s["metadata"]["name"] != set.name());
        }
        if let Some(revision) = plan.revision {
            self.deployment["metadata"]["annotations"][revision::REVISION] = revision.into();
        }
        self.deployment["status"] = Value::Object(plan.status);
        self.now += Duration::from_secs(1);
        busy
    }

    /// Every set has the pods it asks for; at most one more of them becomes available.
    fn settle_one(&mut self) -> bool {
        let mut grown = false;
        let mut changed = false;
        for set in &mut self.sets {
            let want = set["spec"]["replicas"].as_i64().unwrap_or(0);
            let have = set["status"]["availableReplicas"].as_i64().unwrap_or(0);
            let broken = self.broken.iter().any(|b| *b == set["spec"]["template"]["spec"]["containers"][0]["image"]);
            let mut available = have.min(want);
            if have < want && !grown && !broken {
                available += 1;
                grown = true;
            }
            let next = json!({"replicas": want, "availableReplicas": available, "readyReplicas": available});
            changed |= set["status"] != next;
            set["status"] = next;
        }
        changed
    }

    /// Steps until nothing moves; checks the strategy's promise after each.
    fn run(&mut self, min_available: i64, max_total: i64) {
        for _ in 0..500 {
            let busy = self.step();
            let (total, _) = self.totals();
            assert!(total <= max_total, "{total} pods, {:?}", self.scaled);
            let moved = self.settle_one();
            let (_, available) = self.totals();
            assert!(available >= min_available, "{available} available, {:?}", self.scaled);
            if !busy && !moved && !self.step() {
                return;
            }
        }
        panic!("never settles: {:?}", self.scaled);
    }

    fn totals(&self) -> (i64, i64) {
        let sum = |path: &str| self.sets.iter().filter_map(|s| s.pointer(path)?.as_i64()).sum();
        (sum("/spec/replicas"), sum("/status/availableReplicas"))
    }

    fn sizes(&self) -> Vec<(String, i64)> {
        self.sets.iter().map(|s| (image(s), s["spec"]["replicas"].as_i64().unwrap_or(-1))).collect()
    }

    fn condition(&self, kind: &str) -> (String, String) {
        let list = self.deployment["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let text = |c: &Tree, field: &str| c[field].as_str().unwrap_or_default().to_owned();
        conditions::find(&list, kind).map(|c| (text(c, "status"), text(c, "reason"))).unwrap_or_default()
    }

    fn annotation(&self, image_of_set: &str, key: &str) -> String {
        let set = self.sets.iter().find(|s| image(s) == image_of_set).expect("the set is there");
        set["metadata"]["annotations"][key].as_str().unwrap_or_default().to_owned()
    }
}

fn image(set: &Tree) -> String {
    set["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()
}

fn rolling(surge: Tree, unavailable: Tree) -> Tree {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

fn is(status: &str, reason: &str) -> (String, String) {
    (status.into(), reason.into())
}

#[test]
fn a_rolling_update_keeps_its_promise() {
    // (replicas, surge, unavailable, least available, most pods)
    let table = [
        (4, json!("25%"), json!("25%"), 3, 5),
        (4, json!(1), json!(0), 4, 5),
        (4, json!(0), json!(1), 3, 4),
        (10, json!("100%"), json!("0%"), 10, 20),
        (3, json!(0), json!(0), 2, 3),
        (1, json!("25%"), json!("25%"), 1, 2),
    ];
    for (replicas, surge, unavailable, least, most) in table {
        let mut world = World::new(replicas, rolling(surge, unavailable));
        world.run(0, most);
        assert_eq!(world.condition("Progressing"), is("True", status::AVAILABLE));
        world.set_image("v2");
        world.run(least, most);
        assert_eq!(world.sizes(), [("v1".into(), 0), ("v2".into(), i64::from(replicas))]);
        assert_eq!(world.condition("Progressing"), is("True", status::AVAILABLE));
        assert_eq!(world.condition("Available"), is("True", "MinimumReplicasAvailable"));
        assert_eq!(world.deployment["metadata"]["annotations"][revision::REVISION], "2");
    }
}

#[test]
fn the_first_set_is_made_whole_at_once() {
    let mut world = World::new(3, rolling(json!("25%"), json!("25%")));
    world.step();
    assert_eq!(world.scaled, ["v1 0→3"]);
    assert_eq!(world.condition("Progressing"), is("True", "NewReplicaSetCreated"));
    assert_eq!(world.condition("Available"), is("False", "MinimumReplicasUnavailable"));
    let set = &world.sets[0];
    let hash = set["metadata"]["labels"]["pod-template-hash"].clone();
    assert!(hash.is_string());
    assert_eq!(set["spec"]["selector"]["matchLabels"]["pod-template-hash"], hash);
    assert_eq!(set["spec"]["template"]["metadata"]["labels"]["pod-template-hash"], hash);
    assert_eq!(set["metadata"]["name"], format!("web-{}", hash.as_str().unwrap_or_default()));
    let annotations = json!({
        "team": "x", revision::REVISION: "1",
        "deployment.kubernetes.io/desired-replicas": "3", "deployment.kubernetes.io/max-replicas": "4",
    });
    assert_eq!(set["metadata"]["annotations"], annotations);
}

#[test]
fn going_back_reuses_the_old_set_under_a_new_revision() {
    let mut world = World::new(2, rolling(json!(1), json!(0)));
    world.run(0, 3);
    world.set_image("v2");
    world.run(2, 3);
    world.set_image("v1");
    world.run(2, 3);
    assert_eq!(world.sizes(), [("v1".into(), 2), ("v2".into(), 0)]);
    assert_eq!(world.annotation("v1", revision::REVISION), "3");
    assert_eq!(world.annotation("v1", "deployment.kubernetes.io/revision-history"), "1");
    assert_eq!(world.deployment["metadata"]["annotations"][revision::REVISION], "3");
    assert_eq!(world.condition("Progressing"), is("True", status::AVAILABLE));
}

#[test]
fn a_stuck_rollout_keeps_old_pods_and_misses_its_deadline() {
    let mut world = World::new(4, rolling(json!("25%"), json!("25%")));
    world.run(0, 5);
    world.broken.push("v2");
    world.set_image("v2");
    world.run(3, 5);
    assert_eq!(world.sizes(), [("v1".into(), 3), ("v2".into(), 2)]);
    assert_eq!(world.condition("Progressing"), is("True", "ReplicaSetUpdated"));
    let wait = world.plan(&[]).next.expect("there is a deadline");
    assert!(wait > Duration::from_secs(500) && wait < Duration::from_secs(602), "{wait:?}");
    world.now += wait;
    world.step();
    assert_eq!(world.condition("Progressing"), is("False", status::TIMED_OUT));
    assert_eq!(world.plan(&[]).next, None);
    world.set_image("v3");
    world.run(3, 5);
    assert_eq!(world.sizes(), [("v1".into(), 0), ("v2".into(), 0), ("v3".into(), 4)]);
    assert_eq!(world.condition("Progressing"), is("True", status::AVAILABLE));
}

#[test]
fn scaling_in_the_middle_of_a_rollout_is_proportional() {
    let mut world = World::new(10, rolling(json!(3), json!(2)));
    world.run(0, 13);
    world.broken.push("v2");
    world.set_image("v2");
    world.run(8, 13);
    assert_eq!(world.sizes(), [("v1".into(), 8), ("v2".into(), 5)]);
    world.scale(15);
    world.run(8, 18);
    assert_eq!(world.sizes(), [("v1".into(), 11), ("v2".into(), 7)], "the documented example");
    world.scale(5);
    world.run(3, 18);
    let total: i64 = world.sizes().iter().map(|(_, size)| size).sum();
    assert!(total <= 8, "{:?}", world.sizes());
}

#[test]
fn a_pause_stops_rollouts_but_not_scaling() {
    let mut world = World::new(2, rolling(json!(1), json!(0)));
    world.run(0, 3);
    world.deployment["spec"]["paused"] = true.into();
    world.set_image("v2");
    world.run(2, 3);
    assert_eq!(world.sizes(), [("v1".into(), 2)]);
    world.scale(4);
    world.run(2, 4);
    assert_eq!(world.sizes(), [("v1".into(), 4)]);
    assert_eq!(world.condition("Progressing"), is("Unknown", status::PAUSED));
    world.deployment["spec"]["paused"] = false.into();
    world.edited();
    world.run(4, 5);
    assert_eq!(world.sizes(), [("v1".into(), 0), ("v2".into(), 4)]);
    assert_eq!(world.condition("Progressing"), is("True", status::AVAILABLE));
}

#[test]
fn recreate_waits_until_the_last_old_pod_is_gone() {
    let mut world = World::new(2, json!({"type": "Recreate"}));
    world.run(0, 2);
    world.set_image("v2");
    world.step();
    assert_eq!(world.sizes(), [("v1".into(), 0)]);
    while world.settle_one() {}
    let owner = json!([{"uid": "s1", "controller": true}]);
    let terminating = crate::testing::pod(&json!({
        "metadata": {"name": "p", "ownerReferences": owner, "deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {},
        "status": {"phase": "Running"},
    }));
    assert!(world.plan(&[terminating]).writes.is_empty(), "a terminating pod still runs");
    world.run(0, 2);
    assert_eq!(world.sizes(), [("v1".into(), 0), ("v2".into(), 2)]);
    assert_eq!(world.deployment["metadata"]["annotations"][revision::REVISION], "2");
}

#[test]
fn history_beyond_the_limit_is_deleted_oldest_first() {
    let mut world = World::new(1, rolling(json!(1), json!(0)));
    world.deployment["spec"]["revisionHistoryLimit"] = 2.into();
    for image in ["v1", "v2", "v3", "v4", "v5"] {
        world.set_image(image);
        world.run(0, 2);
    }
    assert_eq!(world.deleted, ["v1", "v2"]);
    assert_eq!(world.sizes().len(), 3);
}

#[test]
fn a_refused_pod_shows_on_the_deployment() {
    let mut world = World::new(1, rolling(json!(1), json!(0)));
    world.step();
    let failure = json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota",
                         "lastTransitionTime": "2026-01-01T00:00:00Z"});
    world.sets[0]["status"] = json!({"conditions": [failure]});
    world.step();
    assert_eq!(world.condition("ReplicaFailure"), is("True", "FailedCreate"));
    world.sets[0]["status"] = json!({});
    world.step();
    assert_eq!(world.condition("ReplicaFailure"), is("", ""));
}

#[test]
fn without_a_deadline_there_is_no_progressing() {
    let mut world = World::new(1, rolling(json!(1), json!(0)));
    world.deployment["spec"]["progressDeadlineSeconds"] = i32::MAX.into();
    world.run(0, 2);
    assert_eq!(world.condition("Progressing"), is("", ""));
    assert_eq!(world.plan(&[]).next, None);
}
