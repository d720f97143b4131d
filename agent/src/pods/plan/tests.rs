//! Tables of what is planned in which state.

use super::*;
use crate::pods::backoff::Backoff;
use crate::pods::fixtures::{at, container, ending, exited, pod, running, state};
use crate::pods::state::{Setup, Wait};
use serde_json::{Value, json};

fn short(action: &Action) -> String {
    match action {
        Action::Start { name, attempt, stale: None } => format!("start {name} {attempt}"),
        Action::Start { name, attempt, stale: Some(id) } => format!("start {name} {attempt} for {}", id.0),
        Action::Stop { id, grace, .. } => format!("stop {} {}s", id.0, grace.as_secs()),
        other => format!("{other:?}"),
    }
}

/// What is planned at second 20, and in how many seconds to look again.
fn planned(spec: &Value, state: &State) -> (Vec<String>, Option<i64>) {
    let plan = plan(&pod(spec.clone()), state, at(20));
    (plan.actions.iter().map(short).collect(), plan.wake_at.map(|at_| at_.duration_since(at(20)).as_secs()))
}

fn check(name: &str, spec: &Value, state: &State, expected: &[&str]) {
    assert_eq!(planned(spec, state).0, expected, "{name}");
}

fn one() -> Value {
    json!({"containers": [{"name": "a"}]})
}

fn with_policy(policy: &str) -> Value {
    json!({"containers": [{"name": "a"}], "restartPolicy": policy})
}

#[test]
fn a_new_pod_gets_volumes_and_a_sandbox_at_once_then_its_containers() {
    check("nothing there", &one(), &State::default(), &["MountVolumes", "PrepareSandbox"]);
    let two = json!({"containers": [{"name": "a"}, {"name": "b"}]});
    check("all set up", &two, &state(vec![]), &["start a 0", "start b 0"]);
    let mut waits = state(vec![]);
    waits.volumes = Setup::Working;
    check("volumes are on their way", &two, &waits, &[]);
    waits.volumes = Setup::Failed { retry_at: at(22) };
    assert_eq!(planned(&two, &waits), (vec![], Some(2)));
    let mut starting = state(vec![]);
    starting.containers.entry("a".into()).or_default().op = Some(Op::Starting);
    check("one is being started", &two, &starting, &["start b 0"]);
}

#[test]
fn a_sandbox_that_died_is_replaced_only_where_something_is_to_run() {
    let dead = |mut state: State| {
        if let Setup::Ready(facts) = &mut state.sandbox {
            facts.alive = false;
        }
        state
    };
    let replaced = r#"ReplaceSandbox(SandboxId("s"))"#;
    check("a restart", &one(), &dead(state(vec![exited("a", 0, 1)])), &[replaced]);
    check("all done", &with_policy("Never"), &dead(state(vec![exited("a", 0, 1)])), &["Release"]);
}

#[test]
fn restart_policies() {
    let table = [
        ("Always", 0, "start a 1"),
        ("Always", 1, "start a 1"),
        ("OnFailure", 1, "start a 1"),
        ("OnFailure", 0, "Release"),
        ("Never", 0, "Release"),
        ("Never", 1, "Release"),
    ];
    for (policy, code, expected) in table {
        check(policy, &with_policy(policy), &state(vec![exited("a", 0, code)]), &[expected]);
    }
    check(
        "one still runs",
        &json!({"restartPolicy": "Never", "containers": [{"name": "a"}, {"name": "b"}]}),
        &state(vec![exited("a", 0, 1), running("b", 0)]),
        &[],
    );
}

#[test]
fn a_container_that_keeps_failing_waits_longer() {
    let mut state = state(vec![exited("a", 3, 1)]);
    let known = state.containers.get_mut("a").expect("is there");
    known.backoff = Backoff::resumed(2, at(9));
    assert_eq!(planned(&one(), &state), (vec![], Some(10)));
    let known = state.containers.get_mut("a").expect("is there");
    known.backoff = Backoff::resumed(1, at(9));
    check("it waited", &one(), &state, &["start a 4"]);
}

#[test]
fn what_could_not_be_made_is_tried_again_later() {
    let mut state = state(vec![]);
    let later = Some((at(21), "ImagePullBackOff", String::new()));
    let wait = Wait { reason: "ErrImagePull", message: String::new(), later, retry_at: at(30) };
    state.containers.entry("a".into()).or_default().wait = Some(wait);
    assert_eq!(planned(&one(), &state), (vec![], Some(1)));
    let made = container("a", 2, RunState::Created);
    check("made, never started", &one(), &crate::pods::fixtures::state(vec![made]), &["start a 2 for a-2"]);
}

#[test]
fn init_containers_run_one_after_the_other() {
    let spec = json!({"initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "a"}]});
    check("first", &spec, &state(vec![]), &["start i 0"]);
    check("it runs", &spec, &state(vec![running("i", 0)]), &[]);
    check("it failed", &spec, &state(vec![exited("i", 0, 1)]), &["start i 1"]);
    check("second", &spec, &state(vec![exited("i", 0, 0)]), &["start j 0"]);
    check("main", &spec, &state(vec![exited("i", 0, 0), exited("j", 0, 0)]), &["start a 0"]);
    check("records of init containers are gone", &spec, &state(vec![running("a", 0)]), &[]);
    let mut never = spec.clone();
    never["restartPolicy"] = json!("Never");
    check("the pod is lost", &never, &state(vec![exited("i", 0, 1)]), &["Release"]);
}

#[test]
fn sidecars_start_before_and_stop_after_the_others() {
    let sidecar = |name: &str| json!({"name": name, "restartPolicy": "Always"});
    let spec = json!({"initContainers": [sidecar("s"), {"name": "i"}, sidecar("t")], "containers": [{"name": "a"}], "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 5});
    let mut unstarted = state(vec![running("s", 0)]);
    unstarted.containers.get_mut("s").expect("is there").live.startup_passed = false;
    check("not started yet", &spec, &unstarted, &[]);
    check("started", &spec, &state(vec![running("s", 0)]), &["start i 0"]);
    let all = || vec![running("s", 0), exited("i", 0, 0), running("t", 0), running("a", 0)];
    check("all run", &spec, &state(all()), &[]);
    let mut crashed = all();
    crashed[0] = exited("s", 0, 1);
    check("a sidecar always restarts", &spec, &state(crashed), &["start s 1"]);
    let mut done = all();
    done[3] = exited("a", 0, 0);
    check("the work is done: the last sidecar first", &spec, &state(done.clone()), &["stop t-0 5s"]);
    done[2] = exited("t", 0, 0);
    check("then the first", &spec, &state(done.clone()), &["stop s-0 5s"]);
    done[0] = exited("s", 0, 137);
    check("then the pod is done", &spec, &state(done), &["Release"]);
    check("deleted: containers first", &spec, &ending(Why::Deleted, 9, all()), &["stop a-0 9s"]);
}

#[test]
fn a_container_is_killed_for_a_reason() {
    let spec = json!({"containers": [{"name": "a"}], "terminationGracePeriodSeconds": 7});
    let mut failing = state(vec![running("a", 0)]);
    let live = &mut failing.containers.get_mut("a").expect("is there").live;
    live.kill = Some(Kill { message: "m".into(), grace: None });
    check("its probe failed", &spec, &failing, &["stop a-0 7s"]);
    let live = &mut failing.containers.get_mut("a").expect("is there").live;
    live.kill = Some(Kill { message: "m".into(), grace: Some(Duration::from_secs(1)) });
    check("its probe has a grace of its own", &spec, &failing, &["stop a-0 1s"]);
    let changed = json!({"containers": [{"name": "a", "image": "other"}], "terminationGracePeriodSeconds": 7});
    check("its image changed", &changed, &state(vec![running("a", 0)]), &["stop a-0 7s"]);
}

#[test]
fn the_end_in_its_order() {
    let spec = one();
    let mut state = ending(Why::Deleted, 30, vec![running("a", 0)]);
    state.withdrawn = Step::Open;
    check("out of the services first", &spec, &state, &["Withdraw"]);
    state.withdrawn = Step::Working;
    check("nothing before that is done", &spec, &state, &[]);
    state.withdrawn = Step::Done;
    check("then the containers", &spec, &state, &["stop a-0 30s"]);
    let known = state.containers.get_mut("a").expect("is there");
    known.op = Some(Op::Stopping { deadline: at(50) });
    check("which takes its time", &spec, &state, &[]);
    state.ending.as_mut().expect("ends").grace = Duration::from_secs(2);
    check("the grace was shortened", &spec, &state, &["stop a-0 2s"]);
    let mut starting = ending(Why::Deleted, 30, vec![]);
    starting.containers.entry("a".into()).or_default().op = Some(Op::Starting);
    check("one is just being started", &spec, &starting, &[]);
    let mut early = ending(Why::Gone, 1, vec![]);
    early.sandbox = Setup::Working;
    check("its sandbox is just being made", &spec, &early, &[]);
    early.sandbox = Setup::Failed { retry_at: at(22) };
    check("which failed", &spec, &early, &["TearDown"]);
    let mut ended = ending(Why::Deleted, 30, vec![exited("a", 0, 0)]);
    check("then the rest", &spec, &ended, &["TearDown"]);
    ended.torn_down = Step::Failed { retry_at: at(22) };
    assert_eq!(planned(&spec, &ended), (vec![], Some(2)));
    ended.torn_down = Step::Done;
    check("then the API hears of it", &spec, &ended, &["Delete"]);
    ended.deleted = Step::Done;
    check("and that is all", &spec, &ended, &[]);
}

#[test]
fn who_is_gone_is_not_deleted_and_who_was_too_long_stays() {
    let spec = json!({"containers": [{"name": "a"}], "activeDeadlineSeconds": 15});
    let mut gone = ending(Why::Gone, 1, vec![exited("a", 0, 0)]);
    gone.torn_down = Step::Done;
    check("the API has forgotten it", &spec, &gone, &[]);
    check("its time is over", &spec, &ending(Why::Deadline, 1, vec![exited("a", 0, 137)]), &["Release"]);
    assert_eq!(
        planned(&json!({"containers": [{"name": "a"}], "activeDeadlineSeconds": 25}), &state(vec![running("a", 0)])).1,
        Some(5)
    );
}
