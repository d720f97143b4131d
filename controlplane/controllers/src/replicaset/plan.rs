//! Decides what a ReplicaSet needs. Pure.

use super::rank;
use crate::conditions;
use crate::limits::REPLICA_BURST;
use coracle_client::facts::{Labels, Project};
use coracle_client::{Error, Meta, Next, PodFacts};
use coracle_proto::selector::LabelSelector;
use coracle_proto::{Object, Tree, meta};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) meta: Meta,
    pub(crate) selector: LabelSelector,
    pub(crate) replicas: usize,
    pub(crate) min_ready_seconds: i32,
    pub(crate) template_labels: Labels,
}

/// What is there.
pub(crate) struct Observed<'a> {
    /// Active pods of the set.
    pub(crate) pods: &'a [Arc<PodFacts>],
    /// Active pods of all sets under the same owner.
    pub(crate) related: &'a [Arc<PodFacts>],
    pub(crate) now: Timestamp,
}

/// What to do about the number of pods.
#[derive(Debug, PartialEq)]
pub(crate) enum Manage {
    Nothing,
    Create(usize),
    Delete(Vec<Arc<PodFacts>>),
}

impl Set {
    pub(crate) fn read(object: &Object, tree: &Tree) -> Result<Self, Error> {
        let meta = Meta::project(object)?;
        let unusable = |why: String| Error::Unusable { what: format!("the selector of {}", meta.key), why };
        let selector = LabelSelector::from_tree(&tree["spec"]["selector"]).map_err(|e| unusable(e.to_string()))?;
        let replicas = tree["spec"]["replicas"].as_i64().unwrap_or(1);
        Ok(Self {
            selector: selector.unwrap_or_default(),
            replicas: usize::try_from(replicas).map_err(|_| unusable(format!("{replicas} replicas")))?,
            min_ready_seconds: int(&tree["spec"]["minReadySeconds"]),
            template_labels: meta::strings(&tree["spec"]["template"]["metadata"]["labels"]),
            meta,
        })
    }
}

fn int(value: &Value) -> i32 {
    value.as_i64().and_then(|n| n.try_into().ok()).unwrap_or(0)
}

/// At most [`REPLICA_BURST`] at once; what is left follows when these show up.
pub(crate) fn manage(set: &Set, observed: &Observed<'_>) -> Manage {
    let have = observed.pods.len();
    if have < set.replicas {
        return Manage::Create((set.replicas - have).min(REPLICA_BURST));
    }
    let surplus = (have - set.replicas).min(REPLICA_BURST);
    if surplus == 0 {
        return Manage::Nothing;
    }
    let mut doomed = rank::sorted(observed.pods, observed.related, observed.now);
    doomed.truncate(surplus);
    Manage::Delete(doomed)
}

/// When a pod becomes available by time alone.
pub(crate) fn next(set: &Set, observed: &Observed<'_>) -> Next {
    let times = observed.pods.iter().filter_map(|pod| pod.available_at(set.min_ready_seconds));
    match times.filter(|at| *at > observed.now).min() {
        Some(at) => Next::After(coracle_client::elapsed(observed.now, at)),
        None => Next::Done,
    }
}

/// `.status` as it should be, zeros included. `failure` is why managing the pods failed, if it did.
pub(crate) fn status(set: &Set, current: &Tree, observed: &Observed<'_>, failure: Option<&str>) -> Map<String, Value> {
    let template = LabelSelector::exact(&set.template_labels);
    let count = |test: &dyn Fn(&PodFacts) -> bool| observed.pods.iter().filter(|pod| test(pod)).count();
    let available = |pod: &PodFacts| pod.available_at(set.min_ready_seconds).is_some_and(|at| at <= observed.now);
    let mut list: Vec<Tree> = current["conditions"].as_array().cloned().unwrap_or_default();
    match failure {
        Some(why) if conditions::find(&list, "ReplicaFailure").is_none() => {
            let reason = if observed.pods.len() < set.replicas { "FailedCreate" } else { "FailedDelete" };
            conditions::set(&mut list, conditions::new("ReplicaFailure", "True", reason, why, observed.now));
        }
        Some(_) => {}
        None => conditions::remove(&mut list, "ReplicaFailure"),
    }
    let fields = [
        ("replicas", json!(observed.pods.len())),
        ("fullyLabeledReplicas", json!(count(&|pod| template.matches(&pod.meta.labels)))),
        ("readyReplicas", json!(count(&|pod| pod.ready))),
        ("availableReplicas", json!(count(&available))),
        ("observedGeneration", json!(set.meta.generation)),
        ("conditions", json!(list)),
    ];
    fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{meta, pod};

    fn set(replicas: usize, min_ready_seconds: i32) -> Set {
        Set {
            meta: meta(json!({"name": "rs", "uid": "u", "generation": 3})),
            selector: LabelSelector::parse("app=web").expect("valid"),
            replicas,
            min_ready_seconds,
            template_labels: [("app".to_owned(), "web".to_owned()), ("tier".into(), "x".into())].into(),
        }
    }

    fn pods(count: usize, ready_since: Option<&str>) -> Vec<Arc<PodFacts>> {
        let ready = |_| ready_since.map(|at| json!({"type": "Ready", "status": "True", "lastTransitionTime": at}));
        let tree = |n: usize| {
            json!({"metadata": {"name": format!("p{n}"), "uid": format!("{n}"), "labels": {"app": "web"}}, "spec": {},
                   "status": {"conditions": ready(n).into_iter().collect::<Vec<_>>()}})
        };
        (0..count).map(|n| pod(&tree(n))).collect()
    }

    const NOW: &str = "2026-01-01T00:01:00Z";

    fn observed(pods: &[Arc<PodFacts>]) -> Observed<'_> {
        Observed { pods, related: pods, now: coracle_proto::time::parse(NOW).expect("valid") }
    }

    #[test]
    fn creates_and_deletes_to_the_number_within_the_burst() {
        for (want, have, create, delete) in
            [(3, 1, 2, 0), (3, 3, 0, 0), (1, 3, 0, 2), (0, 2, 0, 2), (900, 0, 500, 0), (0, 900, 0, 500)]
        {
            let pods = pods(have, None);
            match manage(&set(want, 0), &observed(&pods)) {
                Manage::Nothing => assert_eq!((create, delete), (0, 0)),
                Manage::Create(n) => assert_eq!((n, 0), (create, delete)),
                Manage::Delete(doomed) => assert_eq!((0, doomed.len()), (create, delete)),
            }
        }
    }

    #[test]
    fn availability_waits_for_min_ready_seconds() {
        // (ready since, minReadySeconds, ready, available, look again after)
        let table = [
            (None, 0, 0, 0, Next::Done),
            (Some(NOW), 0, 2, 2, Next::Done),
            (Some("2026-01-01T00:00:55Z"), 20, 2, 0, Next::After(std::time::Duration::from_secs(15))),
            (Some("2026-01-01T00:00:40Z"), 20, 2, 2, Next::Done),
        ];
        for (since, min_ready, ready, available, again) in table {
            let pods = pods(2, since);
            let (set, observed) = (set(2, min_ready), observed(&pods));
            let status = status(&set, &json!({}), &observed, None);
            assert_eq!((&status["readyReplicas"], &status["availableReplicas"]), (&json!(ready), &json!(available)));
            assert_eq!(status["fullyLabeledReplicas"], 0, "a label of the template is missing");
            assert_eq!(status["observedGeneration"], 3);
            assert_eq!(next(&set, &observed), again);
        }
    }

    #[test]
    fn a_failure_is_a_condition_until_it_is_over() {
        let pods = pods(1, None);
        let failed = status(&set(2, 0), &json!({}), &observed(&pods), Some("quota"));
        let condition = &failed["conditions"][0];
        assert_eq!(
            (&condition["type"], &condition["reason"], &condition["message"]),
            (&json!("ReplicaFailure"), &json!("FailedCreate"), &json!("quota"))
        );
        let healed = status(&set(1, 0), &Value::Object(failed), &observed(&pods), None);
        assert_eq!(healed["conditions"], json!([]));
    }
}
