//! Taints that follow a node's conditions, and what tolerates a taint. Pure.
//! <https://kubernetes.io/docs/reference/labels-annotations-taints/>

use coracle_proto::{Tree, time};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Taint, Toleration};
use serde_json::json;

pub(super) const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub(super) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
pub(super) const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// (condition, status, taint).
const BY_CONDITION: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];

/// Whether NoExecute taints may be put on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eviction {
    Allowed,
    /// Those that are there stay, no new ones come.
    Held,
    /// Those that are there are taken off: too many nodes are gone.
    Withdrawn,
}

/// The taint that moves pods off a node in this state, if any. A node without a Ready condition has only just come.
pub(super) fn evicting(conditions: &[Tree]) -> Option<&'static str> {
    let ready = conditions.iter().find(|c| c["type"] == "Ready")?;
    let row = BY_CONDITION.iter().find(|(kind, status, _)| *kind == "Ready" && ready["status"] == *status);
    row.map(|(_, _, taint)| *taint)
}

/// The node's taints as they should be, `None` if they are so already. Others' taints are left alone.
pub(super) fn wanted(node: &Tree, conditions: &[Tree], eviction: Eviction, now: Timestamp) -> Option<Vec<Tree>> {
    let current: &[Tree] = node["spec"]["taints"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is = |taint: &Tree, key: &str, effect: &str| taint["key"] == key && taint["effect"] == effect;
    let mut want: Vec<(&str, &str)> = Vec::new();
    for (kind, status, key) in BY_CONDITION {
        if conditions.iter().any(|c| c["type"] == kind && c["status"] == status) {
            want.push((key, "NoSchedule"));
        }
    }
    if node["spec"]["unschedulable"] == true {
        want.push((UNSCHEDULABLE, "NoSchedule"));
    }
    if let Some(key) = evicting(conditions) {
        let there = current.iter().any(|t| is(t, key, "NoExecute"));
        if eviction == Eviction::Allowed || (eviction == Eviction::Held && there) {
            want.push((key, "NoExecute"));
        }
    }
    let ours = |taint: &Tree| {
        let known = BY_CONDITION.iter().any(|(_, _, key)| is(taint, key, "NoSchedule"));
        known
            || is(taint, UNSCHEDULABLE, "NoSchedule")
            || is(taint, NOT_READY, "NoExecute")
            || is(taint, UNREACHABLE, "NoExecute")
    };
    let keeps = |taint: &&Tree| !ours(taint) || want.iter().any(|(key, effect)| is(taint, key, effect));
    let mut taints: Vec<Tree> = current.iter().filter(keeps).cloned().collect();
    for (key, effect) in want {
        if !taints.iter().any(|t| is(t, key, effect)) {
            taints.push(json!({"key": key, "effect": effect, "timeAdded": time::render(now)}));
        }
    }
    (taints != current).then_some(taints)
}

pub(super) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let is_empty = |text: &Option<String>| text.as_deref().is_none_or(str::is_empty);
    let exists = toleration.operator.as_deref() == Some("Exists");
    if !is_empty(&toleration.effect) && toleration.effect.as_deref() != Some(&*taint.effect) {
        return false;
    }
    if is_empty(&toleration.key) {
        return exists;
    }
    toleration.key.as_deref() == Some(&*taint.key)
        && (exists || toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default())
}

/// For how long the NoExecute ones of `taints` are borne: `None` for ever, zero not at all.
pub(super) fn tolerated_for(tolerations: &[Toleration], taints: &[Taint]) -> Option<std::time::Duration> {
    let mut shortest = None;
    for taint in taints.iter().filter(|t| t.effect == "NoExecute") {
        let seconds = match tolerations.iter().find(|t| tolerates(t, taint)) {
            None => Some(0),
            Some(toleration) => toleration.toleration_seconds,
        };
        if let Some(seconds) = seconds {
            let time = std::time::Duration::from_secs(seconds.max(0).unsigned_abs());
            shortest = Some(shortest.map_or(time, |s: std::time::Duration| s.min(time)));
        }
    }
    shortest
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn keys(taints: &[Tree]) -> Vec<String> {
        let text = |t: &Tree, field: &str| t[field].as_str().unwrap_or_default().to_owned();
        taints
            .iter()
            .map(|t| format!("{}:{}", text(t, "key").trim_start_matches("node.kubernetes.io/"), text(t, "effect")))
            .collect()
    }

    #[test]
    fn taints_follow_conditions_and_leave_others_alone() {
        let now = Timestamp::UNIX_EPOCH;
        let mine = json!({"key": "mine", "effect": "NoExecute"});
        let node = |taints: Tree| json!({"spec": {"taints": taints}});
        let ready = |status: &str| vec![json!({"type": "Ready", "status": status})];
        let there =
            json!([mine, {"key": UNREACHABLE, "effect": "NoSchedule"}, {"key": UNREACHABLE, "effect": "NoExecute"}]);
        type Row = (Tree, Vec<Tree>, Eviction, Option<&'static [&'static str]>);
        let table: [Row; 8] = [
            (json!([mine]), ready("True"), Eviction::Allowed, None),
            (
                json!([mine]),
                ready("False"),
                Eviction::Allowed,
                Some(&["mine:NoExecute", "not-ready:NoSchedule", "not-ready:NoExecute"]),
            ),
            (json!([mine]), ready("Unknown"), Eviction::Held, Some(&["mine:NoExecute", "unreachable:NoSchedule"])),
            (there.clone(), ready("Unknown"), Eviction::Held, None),
            (there.clone(), ready("Unknown"), Eviction::Withdrawn, Some(&["mine:NoExecute", "unreachable:NoSchedule"])),
            (there.clone(), ready("True"), Eviction::Allowed, Some(&["mine:NoExecute"])),
            (
                there,
                ready("False"),
                Eviction::Allowed,
                Some(&["mine:NoExecute", "not-ready:NoSchedule", "not-ready:NoExecute"]),
            ),
            (
                json!([]),
                vec![json!({"type": "DiskPressure", "status": "True"})],
                Eviction::Allowed,
                Some(&["disk-pressure:NoSchedule"]),
            ),
        ];
        for (at, (taints, conditions, eviction, want)) in table.into_iter().enumerate() {
            let got = wanted(&node(taints), &conditions, eviction, now).map(|t| keys(&t));
            let want = want.map(|w| w.iter().map(|k| (*k).to_owned()).collect::<Vec<_>>());
            assert_eq!(got, want, "row {at}");
        }
        let cordoned = json!({"spec": {"unschedulable": true}});
        assert_eq!(
            wanted(&cordoned, &ready("True"), Eviction::Allowed, now).map(|t| keys(&t)),
            Some(vec!["unschedulable:NoSchedule".into()])
        );
    }

    fn toleration(key: &str, operator: &str, value: &str, effect: &str, seconds: Option<i64>) -> Toleration {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Toleration {
            key: some(key),
            operator: some(operator),
            value: some(value),
            effect: some(effect),
            toleration_seconds: seconds,
        }
    }

    #[test]
    fn what_is_tolerated_and_for_how_long() {
        let taint = |key: &str, value: &str, effect: &str| Taint {
            key: key.into(),
            value: Some(value.into()),
            effect: effect.into(),
            time_added: None,
        };
        let (a, b, soft) = (taint("a", "1", "NoExecute"), taint("b", "", "NoExecute"), taint("c", "", "NoSchedule"));
        let exists = |key, seconds| toleration(key, "Exists", "", "NoExecute", seconds);
        let secs = |s| Some(Duration::from_secs(s));
        let table: [(Vec<Toleration>, Vec<Taint>, Option<Duration>); 9] = [
            (vec![], vec![], None),
            (vec![], vec![soft.clone()], None),
            (vec![], vec![a.clone()], secs(0)),
            (vec![exists("a", None)], vec![a.clone(), soft], None),
            (vec![exists("a", Some(300))], vec![a.clone()], secs(300)),
            (vec![exists("a", Some(300)), exists("b", Some(20))], vec![a.clone(), b.clone()], secs(20)),
            (vec![exists("a", None)], vec![a.clone(), b], secs(0)),
            (vec![toleration("a", "", "1", "", Some(-5))], vec![a.clone()], secs(0)),
            (vec![toleration("", "Exists", "", "", None)], vec![a.clone()], None),
        ];
        for (at, (tolerations, taints, want)) in table.iter().enumerate() {
            assert_eq!(tolerated_for(tolerations, taints), *want, "row {at}");
        }
        assert!(!tolerates(&toleration("a", "Equal", "2", "", None), &a));
    }
}
