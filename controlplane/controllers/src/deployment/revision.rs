//! Annotations that Deployments keep on their ReplicaSets: revision, history, sizes for proportional scaling.

use super::objects::{Deployment, Set};
use crate::limits::REVISION_HISTORY;
use coracle_proto::meta;

pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations of the Deployment that its sets do not take over.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];

/// 0 where there is none.
pub(crate) fn of(set: &Set) -> i64 {
    set.annotation(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The highest revision among `sets`.
pub(crate) fn highest<'a>(sets: impl Iterator<Item = &'a Set>) -> i64 {
    sets.map(of).max().unwrap_or(0)
}

/// Brings the newest set's annotations up to date; `revision` is what it should at least have.
pub(crate) fn annotate(deployment: &Deployment, set: &mut Set, revision: i64) {
    for (key, value) in meta::annotations(&deployment.tree) {
        if !OWN.contains(&key.as_str()) {
            set.annotate(&key, &value);
        }
    }
    let old = of(set);
    if old < revision {
        let before = set.annotation(REVISION).unwrap_or_default().to_owned();
        set.annotate(REVISION, &revision.to_string());
        if !set.is_new && !before.is_empty() {
            let history = set.annotation(HISTORY).unwrap_or_default();
            let history = appended(history, &before);
            set.annotate(HISTORY, &history);
        }
    }
    if set.is_new {
        annotate_sizes(deployment, set);
    }
}

/// Keeps the newest revisions that fit.
fn appended(history: &str, revision: &str) -> String {
    let mut all: Vec<&str> = history.split(',').filter(|r| !r.is_empty()).collect();
    all.push(revision);
    while all.len() > 1 && all.iter().map(|r| r.len() + 1).sum::<usize>() > REVISION_HISTORY {
        all.remove(0);
    }
    all.join(",")
}

/// What the set's size was a share of, for the next proportional scaling.
pub(crate) fn annotate_sizes(deployment: &Deployment, set: &mut Set) {
    set.annotate(DESIRED, &deployment.replicas.to_string());
    set.annotate(MAX, &deployment.replicas.saturating_add(deployment.max_surge()).to_string());
}

/// `replicas` of the Deployment when the set was last sized.
pub(crate) fn desired(set: &Set) -> Option<i32> {
    set.annotation(DESIRED)?.parse().ok()
}

/// `replicas + maxSurge` of the Deployment when the set was last sized.
pub(crate) fn max_size(set: &Set) -> Option<i32> {
    set.annotation(MAX)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_bounded() {
        assert_eq!(appended("", "1"), "1");
        assert_eq!(appended("1,3", "5"), "1,3,5");
        let long = (0..1000).fold(String::new(), |history, n| appended(&history, &n.to_string()));
        assert!(long.len() <= REVISION_HISTORY && long.ends_with(",998,999"));
    }
}
