//! What a namespace still holds, as its conditions say it. Pure.

use crate::conditions;
use coracle_proto::{ApiError, Tree};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// By `plural.group`, as upstream prints it.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) kinds: BTreeMap<String, Kind>,
}

#[derive(Debug, Default)]
pub(super) struct Kind {
    pub(super) remaining: usize,
    /// How many objects each finalizer holds.
    pub(super) finalizers: BTreeMap<String, usize>,
    pub(super) failure: Option<ApiError>,
}

impl Kind {
    pub(super) fn is_gone(&self) -> bool {
        self.remaining == 0 && self.failure.is_none()
    }
}

impl Content {
    pub(super) fn is_gone(&self) -> bool {
        self.kinds.is_empty()
    }

    pub(super) fn first_failure(self) -> Option<ApiError> {
        self.kinds.into_values().find_map(|kind| kind.failure)
    }

    fn failures(&self) -> Option<String> {
        let failures: Vec<String> = self.kinds.values().filter_map(|k| Some(k.failure.as_ref()?.to_string())).collect();
        let (count, all) = (failures.len(), failures.join(", "));
        (count > 0).then(|| format!("Failed to delete all resource types, {count} remaining: {all}"))
    }

    fn remaining(&self) -> Option<String> {
        let left = self.kinds.iter().filter(|(_, kind)| kind.remaining > 0);
        let left: Vec<String> =
            left.map(|(name, kind)| format!("{name} has {} resource instances", kind.remaining)).collect();
        (!left.is_empty()).then(|| format!("Some resources are remaining: {}", left.join(", ")))
    }

    fn finalizers(&self) -> Option<String> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (name, count) in self.kinds.values().flat_map(|kind| &kind.finalizers) {
            *counts.entry(name).or_default() += count;
        }
        let held: Vec<String> = counts.iter().map(|(name, n)| format!("{name} in {n} resource instances")).collect();
        let held = held.join(", ");
        (!held.is_empty()).then(|| format!("Some content in the namespace has finalizers remaining: {held}"))
    }
}

/// The five conditions of a namespace that is being deleted.
pub(super) fn conditions(mut list: Vec<Tree>, content: &Content, now: Timestamp) -> Vec<Tree> {
    let rows = [
        (
            "NamespaceDeletionDiscoveryFailure",
            ("ResourcesDiscovered", "All resources successfully discovered"),
            ("", None),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
            ("", None),
        ),
        (
            "NamespaceDeletionContentFailure",
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
            ("ContentDeletionFailed", content.failures()),
        ),
        (
            "NamespaceContentRemaining",
            ("ContentRemoved", "All content successfully removed"),
            ("SomeResourcesRemain", content.remaining()),
        ),
        (
            "NamespaceFinalizersRemaining",
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
            ("SomeFinalizersRemain", content.finalizers()),
        ),
    ];
    for (kind, good, (reason, trouble)) in rows {
        let wanted = match trouble {
            Some(message) => conditions::new(kind, "True", reason, &message, now),
            None => conditions::new(kind, "False", good.0, good.1, now),
        };
        set(&mut list, wanted);
    }
    list
}

/// As upstream does here: the message follows at once, the time of transition moves with the status.
fn set(list: &mut Vec<Tree>, mut wanted: Tree) {
    match list.iter_mut().find(|c| c["type"] == wanted["type"]) {
        Some(current) => {
            if current["status"] == wanted["status"] {
                wanted["lastTransitionTime"] = current["lastTransitionTime"].clone();
            }
            *current = wanted;
        }
        None => list.push(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(content: &Content) -> Vec<(String, String)> {
        let now = coracle_proto::time::parse("2026-01-01T00:00:00Z").expect("valid");
        let text = |c: &Tree, field: &str| c[field].as_str().unwrap_or_default().to_owned();
        let list = conditions(Vec::new(), content, now);
        list.iter().filter(|c| c["status"] == "True").map(|c| (text(c, "type"), text(c, "message"))).collect()
    }

    #[test]
    fn conditions_say_what_is_left() {
        let mut content = Content::default();
        assert!(content.is_gone() && messages(&content).is_empty());
        let finalizers = BTreeMap::from([("x.io/hold".to_owned(), 2)]);
        content.kinds.insert("pods.".into(), Kind { remaining: 2, finalizers, failure: None });
        content.kinds.insert("deployments.apps".into(), Kind { remaining: 1, ..Kind::default() });
        let refused = Kind { failure: Some(ApiError::timeout("too slow")), ..Kind::default() };
        content.kinds.insert("secrets.".into(), refused);
        let want = [
            ("NamespaceDeletionContentFailure", "Failed to delete all resource types, 1 remaining: too slow"),
            (
                "NamespaceContentRemaining",
                "Some resources are remaining: deployments.apps has 1 resource instances, pods. has 2 resource instances",
            ),
            (
                "NamespaceFinalizersRemaining",
                "Some content in the namespace has finalizers remaining: x.io/hold in 2 resource instances",
            ),
        ];
        assert_eq!(messages(&content), want.map(|(kind, message)| (kind.to_owned(), message.to_owned())));
        assert!(content.first_failure().is_some());
    }
}
