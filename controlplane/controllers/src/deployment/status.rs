//! A Deployment's status: counts, and the conditions Available, Progressing and ReplicaFailure. Pure.

use super::objects::{Deployment, Set};
use super::scale::Newest;
use crate::conditions;
use coracle_client::elapsed;
use coracle_proto::{Tree, time};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::time::Duration;

pub(crate) const AVAILABLE: &str = "NewReplicaSetAvailable";
pub(crate) const TIMED_OUT: &str = "ProgressDeadlineExceeded";
pub(crate) const PAUSED: &str = "DeploymentPaused";

/// A Deployment condition, changed and updated now.
pub(crate) fn condition(kind: &str, status: &str, reason: &str, message: &str, now: Timestamp) -> Tree {
    let mut condition = conditions::new(kind, status, reason, message, now);
    condition["lastUpdateTime"] = time::render(now).into();
    condition
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) replicas: i32,
    pub(crate) updated: i32,
    pub(crate) ready: i32,
    pub(crate) available: i32,
    pub(crate) unavailable: i32,
}

impl Counts {
    pub(crate) fn of(sets: &[Set], newest: Newest) -> Self {
        let sum = |count: fn(&Set) -> i32| sets.iter().map(count).sum::<i32>();
        let available = sum(|set| set.status.available);
        Self {
            replicas: sum(|set| set.status.replicas),
            updated: newest.map_or(0, |at| sets[at].status.replicas),
            ready: sum(|set| set.status.ready),
            available,
            unavailable: (sum(|set| set.replicas) - available).max(0),
        }
    }

    fn before(deployment: &Deployment) -> Self {
        let count = |field| deployment.status_count(field);
        Self {
            replicas: count("replicas"),
            updated: count("updatedReplicas"),
            ready: count("readyReplicas"),
            available: count("availableReplicas"),
            unavailable: count("unavailableReplicas"),
        }
    }

    /// All pods are of the newest set, available, and as many as wanted.
    pub(crate) fn is_complete(&self, deployment: &Deployment) -> bool {
        let wanted = deployment.replicas;
        self.updated == wanted && self.replicas == wanted && self.available == wanted
    }

    fn is_progress_since(&self, before: &Self) -> bool {
        self.updated > before.updated
            || self.replicas - self.updated < before.replicas - before.updated
            || self.ready > before.ready
            || self.available > before.available
    }
}

/// `.status` with everything but Progressing and ReplicaFailure brought up to date; zeros included.
pub(crate) fn fields(
    deployment: &Deployment,
    counts: &Counts,
    mut list: Vec<Tree>,
    now: Timestamp,
) -> Map<String, Value> {
    let enough = counts.available >= deployment.replicas - deployment.max_unavailable();
    let (status, reason, message) = if enough {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    conditions::set(&mut list, condition("Available", status, reason, message, now));
    let fields = [
        ("observedGeneration", json!(deployment.meta.generation)),
        ("replicas", json!(counts.replicas)),
        ("updatedReplicas", json!(counts.updated)),
        ("readyReplicas", json!(counts.ready)),
        ("availableReplicas", json!(counts.available)),
        ("unavailableReplicas", json!(counts.unavailable)),
        ("conditions", json!(list)),
    ];
    fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect()
}

/// Brings Progressing up to date in `list`.
pub(crate) fn progress(
    deployment: &Deployment,
    counts: &Counts,
    newest: Option<&str>,
    list: &mut Vec<Tree>,
    now: Timestamp,
) {
    let Some(deadline) = deployment.progress_deadline else { return conditions::remove(list, "Progressing") };
    let current = conditions::find(list, "Progressing").cloned();
    let reason = current.as_ref().and_then(|c| c["reason"].as_str()).unwrap_or_default();
    if counts.replicas == counts.updated && reason == AVAILABLE {
        return;
    }
    let subject = match newest {
        Some(set) => format!("ReplicaSet {set:?}"),
        None => format!("Deployment {:?}", deployment.meta.name()),
    };
    if counts.is_complete(deployment) {
        let message = format!("{subject} has successfully progressed.");
        conditions::set(list, condition("Progressing", "True", AVAILABLE, &message, now));
    } else if counts.is_progress_since(&Counts::before(deployment)) {
        let message = format!("{subject} is progressing.");
        let mut next = condition("Progressing", "True", "ReplicaSetUpdated", &message, now);
        // Set afresh even with the same reason: the update time is what the deadline counts from.
        if let Some(current) = current.filter(|c| c["status"] == "True") {
            next["lastTransitionTime"] = current["lastTransitionTime"].clone();
        }
        conditions::remove(list, "Progressing");
        list.push(next);
    } else if current.is_some_and(|c| is_overdue(&c, deadline, now)) {
        let message = format!("{subject} has timed out progressing.");
        conditions::set(list, condition("Progressing", "False", TIMED_OUT, &message, now));
    }
}

fn is_overdue(progressing: &Tree, deadline: i32, now: Timestamp) -> bool {
    match progressing["reason"].as_str() {
        Some(AVAILABLE) => false,
        Some(TIMED_OUT) => true,
        _ => due(progressing, deadline).is_some_and(|due| due < now),
    }
}

fn due(progressing: &Tree, deadline: i32) -> Option<Timestamp> {
    let from = time::parse(progressing["lastUpdateTime"].as_str()?)?;
    Some(from + Duration::from_secs(deadline.max(0).unsigned_abs().into()))
}

/// When the deadline has to be looked at again.
pub(crate) fn check_again(deployment: &Deployment, counts: &Counts, list: &[Tree], now: Timestamp) -> Option<Duration> {
    let deadline = deployment.progress_deadline?;
    let progressing = conditions::find(list, "Progressing")?;
    if counts.is_complete(deployment) || matches!(progressing["reason"].as_str(), Some(TIMED_OUT | AVAILABLE | PAUSED))
    {
        return None;
    }
    // A second more, as the times are in whole seconds.
    Some(elapsed(now, due(progressing, deadline)?) + Duration::from_secs(1))
}

/// Copies a set's ReplicaFailure, the newest set's first.
pub(crate) fn replica_failure(sets: &[Set], newest: Newest, list: &mut Vec<Tree>) {
    let order = newest.into_iter().chain((0..sets.len()).filter(|at| Some(*at) != newest));
    let failures = order.filter_map(|at| {
        let conditions = sets[at].tree["status"]["conditions"].as_array()?;
        conditions::find(conditions, "ReplicaFailure")
    });
    match failures.into_iter().next() {
        Some(failure) => {
            let mut failure = failure.clone();
            failure["lastUpdateTime"] = failure["lastTransitionTime"].clone();
            conditions::set(list, failure);
        }
        None => conditions::remove(list, "ReplicaFailure"),
    }
}
