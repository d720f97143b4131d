//! What a DELETE does to one object: remove it, mark it, or nothing. Pure.

use crate::validate::{int, items, text};
use coracle_client::{DeleteOptions, Propagation};
use coracle_proto::{Tree, meta, time};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

#[derive(Debug, PartialEq)]
pub enum Plan {
    /// Nothing holds it.
    Remove,
    /// It stays, marked like this, until its finalizers or its node are done.
    Mark(Tree),
    /// It is on its way already, no later than asked.
    Leave,
}

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

pub fn plan(object: &Tree, options: &DeleteOptions, now: Timestamp) -> Plan {
    let finalizers = finalizers_for(object, options.propagation);
    let held = !finalizers.is_empty() || holds_contents(object);
    let grace = grace_seconds(object, options);
    let mut marked = object.clone();
    set_finalizers(&mut marked, finalizers);
    if meta::is_deleting(object) {
        let before = int(&object["metadata"], "deletionGracePeriodSeconds");
        let shortened = grace < before;
        if shortened {
            shorten(&mut marked, before, grace);
        }
        return match (held, grace) {
            (false, 0) => Plan::Remove,
            _ if marked != *object => Plan::Mark(marked),
            _ => Plan::Leave,
        };
    }
    if !held && grace == 0 {
        return Plan::Remove;
    }
    let at = now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(now);
    let fields = meta::metadata_mut(&mut marked);
    fields.insert("deletionTimestamp".into(), time::render(at).into());
    fields.insert("deletionGracePeriodSeconds".into(), grace.into());
    if let Some(generation) = fields.get("generation").and_then(Value::as_i64) {
        fields.insert("generation".into(), (generation + 1).into());
    }
    if marked["kind"] == "Namespace" {
        marked["status"]["phase"] = "Terminating".into();
    }
    Plan::Mark(marked)
}

/// Only pods have a grace period, and only while a node may be running them.
fn grace_seconds(object: &Tree, options: &DeleteOptions) -> i64 {
    if object["kind"] != "Pod" {
        return 0;
    }
    let unscheduled = text(&object["spec"], "nodeName").is_empty();
    let ended = matches!(text(&object["status"], "phase"), "Failed" | "Succeeded");
    if unscheduled || ended {
        return 0;
    }
    let asked = options.grace_period_seconds.or(object["spec"]["terminationGracePeriodSeconds"].as_i64());
    // A negative period means the shortest there is.
    match asked.unwrap_or(30) {
        seconds if seconds < 0 => 1,
        seconds => seconds,
    }
}

fn shorten(marked: &mut Tree, before: i64, grace: i64) {
    let Some(end) = meta::deletion_timestamp(marked).and_then(time::parse) else { return };
    let at = end.checked_sub(SignedDuration::from_secs(before - grace)).unwrap_or(end);
    let fields = meta::metadata_mut(marked);
    fields.insert("deletionTimestamp".into(), time::render(at).into());
    fields.insert("deletionGracePeriodSeconds".into(), grace.into());
}

/// A namespace stays until the namespace controller has emptied it.
fn holds_contents(object: &Tree) -> bool {
    object["kind"] == "Namespace" && !items(&object["spec"], "finalizers").is_empty()
}

/// The finalizers, with those the propagation policy stands for.
fn finalizers_for(object: &Tree, propagation: Option<Propagation>) -> Vec<String> {
    let mut list: Vec<String> = meta::finalizers(object).map(str::to_owned).collect();
    if let Some(policy) = propagation {
        let wanted = match policy {
            Propagation::Orphan => Some(ORPHAN),
            Propagation::Foreground => Some(FOREGROUND),
            Propagation::Background => None,
        };
        list.retain(|f| (f != ORPHAN && f != FOREGROUND) || Some(f.as_str()) == wanted);
        if let Some(wanted) = wanted.filter(|w| !list.iter().any(|f| f == w)) {
            list.push(wanted.into());
        }
    }
    list
}

fn set_finalizers(object: &mut Tree, list: Vec<String>) {
    let fields = meta::metadata_mut(object);
    if list.is_empty() {
        fields.remove("finalizers");
    } else {
        fields.insert("finalizers".into(), json!(list));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        time::parse("2026-01-01T00:00:00Z").expect("valid")
    }

    fn pod(node: &str, phase: &str) -> Tree {
        json!({"kind": "Pod", "metadata": {"name": "p", "generation": 1},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": 30}, "status": {"phase": phase}})
    }

    #[test]
    fn grace_is_for_pods_that_may_run() {
        let grace = |s| DeleteOptions { grace_period_seconds: s, ..DeleteOptions::default() };
        let table = [
            (pod("", "Pending"), grace(None), None),
            (pod("n", "Succeeded"), grace(None), None),
            (pod("n", "Running"), grace(Some(0)), None),
            (pod("n", "Running"), grace(None), Some(("2026-01-01T00:00:30Z", 30))),
            (pod("n", "Running"), grace(Some(5)), Some(("2026-01-01T00:00:05Z", 5))),
            (pod("n", "Running"), grace(Some(-1)), Some(("2026-01-01T00:00:01Z", 1))),
            (json!({"kind": "ConfigMap", "metadata": {}}), grace(None), None),
        ];
        for (object, options, marked) in table {
            match (plan(&object, &options, now()), marked) {
                (Plan::Remove, None) => {}
                (Plan::Mark(tree), Some((at, seconds))) => {
                    assert_eq!(meta::deletion_timestamp(&tree), Some(at));
                    assert_eq!(tree["metadata"]["deletionGracePeriodSeconds"], seconds);
                    assert_eq!(meta::generation(&tree), 2);
                }
                (other, _) => panic!("{object}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_second_delete_only_shortens() {
        let Plan::Mark(first) = plan(&pod("n", "Running"), &DeleteOptions::default(), now()) else {
            panic!("a running pod is marked");
        };
        let again = |seconds| {
            let options = DeleteOptions { grace_period_seconds: Some(seconds), ..DeleteOptions::default() };
            plan(&first, &options, now())
        };
        assert_eq!(again(60), Plan::Leave);
        assert_eq!(again(0), Plan::Remove);
        let Plan::Mark(shorter) = again(10) else { panic!("a shorter period is marked") };
        assert_eq!(meta::deletion_timestamp(&shorter), Some("2026-01-01T00:00:10Z"));
    }

    #[test]
    fn finalizers_hold_and_policies_add_them() {
        let object = json!({"kind": "ReplicaSet", "metadata": {"name": "r"}});
        let with = |p| plan(&object, &DeleteOptions { propagation: Some(p), ..DeleteOptions::default() }, now());
        assert_eq!(with(Propagation::Background), Plan::Remove);
        for (policy, finalizer) in [(Propagation::Orphan, ORPHAN), (Propagation::Foreground, FOREGROUND)] {
            let Plan::Mark(marked) = with(policy) else { panic!("{policy:?} holds the object") };
            assert_eq!(meta::finalizers(&marked).collect::<Vec<_>>(), [finalizer]);
        }
    }
}
