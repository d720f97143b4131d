//! DefaultTolerationSeconds and Priority for pods.

use crate::validate::{items, text};
use coracle_proto::resource::PODS;
use coracle_proto::{ApiError, Tree, meta};
use serde_json::json;

/// How long a pod stays on a node that is not ready or out of reach.
const TOLERATION_SECONDS: i64 = 300;
/// The priority classes every cluster has.
const SYSTEM_CLASSES: [(&str, i64); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

pub fn admit(pod: &mut Tree) -> Result<(), ApiError> {
    if !pod["spec"].is_object() {
        return Ok(());
    }
    tolerate(pod, "node.kubernetes.io/not-ready");
    tolerate(pod, "node.kubernetes.io/unreachable");
    prioritise(pod)
}

fn tolerate(pod: &mut Tree, key: &str) {
    let list = items(&pod["spec"], "tolerations");
    let covers = |t: &Tree| {
        let (k, effect) = (text(t, "key"), text(t, "effect"));
        (k == key || k.is_empty()) && (effect == "NoExecute" || effect.is_empty())
    };
    if list.iter().any(covers) {
        return;
    }
    let mut list = list.to_vec();
    list.push(json!({
        "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS,
    }));
    pod["spec"]["tolerations"] = list.into();
}

fn prioritise(pod: &mut Tree) -> Result<(), ApiError> {
    let class = text(&pod["spec"], "priorityClassName");
    let priority = if class.is_empty() {
        0
    } else {
        let found = SYSTEM_CLASSES.iter().find(|(name, _)| *name == class).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let why = format!("no PriorityClass with name {class} was found");
            ApiError::forbidden(&PODS, meta::name(pod), why)
        })?
    };
    let given = pod["spec"]["priority"].as_i64();
    if given.is_some_and(|given| given != priority) {
        let why = format!(
            "the integer value of priority ({}) must not be provided in pod spec; priority admission controller computed {priority} from the given PriorityClass name",
            given.unwrap_or_default()
        );
        return Err(ApiError::forbidden(&PODS, meta::name(pod), why));
    }
    pod["spec"]["priority"] = priority.into();
    if pod["spec"]["preemptionPolicy"].is_null() {
        pod["spec"]["preemptionPolicy"] = "PreemptLowerPriority".into();
    }
    Ok(())
}
