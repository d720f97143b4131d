//! What to do about one object, given its owners' state and its dependents. Pure.

use super::graph::{FOREGROUND, Item, Node, ORPHAN, is_held_by};
use coracle_client::{Meta, Propagation};
use std::sync::Arc;

/// What an owner reference stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The owner is there, or nobody can tell.
    Solid,
    /// It is gone.
    Absent,
    /// It is being deleted and waits for its dependents.
    Waiting,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    /// Take these owners off its references.
    Disown(Vec<Arc<str>>),
    Delete(Propagation),
    /// Its dependents wait for a deletion that waits for them: it shall block its owners no longer, then be deleted.
    Unblock,
    /// Take it off its dependents' references, then its finalizer off.
    Orphan(Vec<Item>),
    /// Look at these first; they bring it back.
    Await(Vec<Item>),
    /// Nothing blocks its deletion any more.
    Release,
}

pub(super) fn plan(meta: &Meta, owners: &[(Arc<str>, Standing)], dependents: &[Node]) -> Action {
    let items = |nodes: &mut dyn Iterator<Item = &Node>| nodes.map(|n| n.item.clone()).collect::<Vec<_>>();
    if is_held_by(meta, ORPHAN) {
        return Action::Orphan(items(&mut dependents.iter()));
    }
    if is_held_by(meta, FOREGROUND) {
        if !dependents.iter().any(|d| d.blocks(&meta.uid)) {
            return Action::Release;
        }
        return Action::Await(items(&mut dependents.iter().filter(|d| !d.foreground)));
    }
    if meta.is_deleting() || owners.is_empty() {
        return Action::Nothing;
    }
    let of = |wanted: Standing| owners.iter().filter(move |(_, standing)| *standing == wanted);
    if of(Standing::Solid).next().is_some() {
        let gone = owners.iter().filter(|(_, standing)| *standing != Standing::Solid);
        let gone: Vec<Arc<str>> = gone.map(|(uid, _)| uid.clone()).collect();
        return if gone.is_empty() { Action::Nothing } else { Action::Disown(gone) };
    }
    if of(Standing::Waiting).next().is_some() && !dependents.is_empty() {
        let circle = dependents.iter().any(|d| d.foreground);
        return if circle { Action::Unblock } else { Action::Delete(Propagation::Foreground) };
    }
    // Its own finalizers say how its dependents are to be treated.
    let has = |finalizer: &str| meta.finalizers.iter().any(|f| &**f == finalizer);
    Action::Delete(match (has(ORPHAN), has(FOREGROUND)) {
        (true, _) => Propagation::Orphan,
        (_, true) => Propagation::Foreground,
        _ => Propagation::Background,
    })
}

#[cfg(test)]
mod tests {
    use super::super::graph::Graph;
    use super::*;
    use crate::testing::meta;
    use coracle_proto::resource::{PODS, REPLICA_SETS};
    use serde_json::{Value, json};

    fn object(uid: &str, owners: &[&str], deleting: bool, finalizers: &[&str]) -> Meta {
        let owners: Vec<Value> = owners
            .iter()
            .map(|uid| json!({"uid": uid, "name": uid, "kind": "ReplicaSet", "apiVersion": "apps/v1", "blockOwnerDeletion": true}))
            .collect();
        let mut tree =
            json!({"name": uid, "uid": uid, "namespace": "ns", "ownerReferences": owners, "finalizers": finalizers});
        if deleting {
            tree["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        meta(tree)
    }

    fn graph(objects: &[Meta]) -> Graph {
        let mut graph = Graph::default();
        for object in objects {
            graph.observe(&PODS, None, Some(object));
        }
        graph
    }

    #[test]
    fn owners_decide() {
        use Standing::{Absent, Solid, Waiting};
        let background = || Action::Delete(Propagation::Background);
        let table: [(&[Standing], bool, Action); 8] = [
            (&[], false, Action::Nothing),
            (&[Solid], false, Action::Nothing),
            (&[Absent], false, background()),
            (&[Absent, Absent], true, background()),
            (&[Solid, Absent, Waiting], false, Action::Disown(vec!["1".into(), "2".into()])),
            (&[Waiting], false, background()),
            (&[Waiting], true, Action::Delete(Propagation::Foreground)),
            (&[Absent, Waiting], true, Action::Delete(Propagation::Foreground)),
        ];
        let pod = object("p", &["0"], false, &[]);
        for (standings, has_dependents, want) in table {
            let owners: Vec<(Arc<str>, Standing)> =
                standings.iter().enumerate().map(|(n, s)| (n.to_string().into(), *s)).collect();
            let graph = graph(&[object("child", &["p"], false, &[])]);
            let dependents = if has_dependents { graph.dependents_of("p") } else { Vec::new() };
            assert_eq!(plan(&pod, &owners, &dependents), want, "{standings:?} {has_dependents}");
        }
    }

    #[test]
    fn finalizers_decide_about_what_is_being_deleted() {
        let graph = graph(&[object("a", &["o"], false, &[]), object("b", &["o"], true, &[FOREGROUND])]);
        let dependents = graph.dependents_of("o");
        let a = || vec![dependents[0].item.clone()];
        let both = || dependents.iter().map(|d| d.item.clone()).collect::<Vec<_>>();
        let held = |finalizer| object("o", &[], true, &[finalizer]);
        assert_eq!(plan(&held(ORPHAN), &[], &dependents), Action::Orphan(both()));
        assert_eq!(plan(&held(FOREGROUND), &[], &dependents), Action::Await(a()));
        assert_eq!(plan(&held(FOREGROUND), &[], &[]), Action::Release);
        assert_eq!(plan(&held("other/finalizer"), &[("x".into(), Standing::Absent)], &[]), Action::Nothing);
        let circle = object("c", &["o"], false, &[]);
        assert_eq!(plan(&circle, &[("o".into(), Standing::Waiting)], &dependents), Action::Unblock);
    }

    #[test]
    fn the_graph_says_what_to_look_at() {
        let mut graph = Graph::default();
        let names = |items: Vec<Item>| items.into_iter().map(|i| i.key.name).collect::<Vec<_>>();
        let (owner, pod) = (object("o", &[], false, &[]), object("p", &["o"], false, &[]));
        assert_eq!(names(graph.observe(&PODS, None, Some(&pod))), ["p"], "its owner is not known yet");
        assert!(graph.observe(&REPLICA_SETS, None, Some(&owner)).is_empty());
        assert!(graph.observe(&PODS, Some(&pod), Some(&pod)).is_empty(), "nothing about owners changed");
        let waiting = object("o", &[], true, &[FOREGROUND]);
        assert_eq!(names(graph.observe(&REPLICA_SETS, Some(&owner), Some(&waiting))), ["o", "p"]);
        assert_eq!(names(graph.observe(&PODS, Some(&pod), None)), ["o"], "one less in the way");
        graph.observe(&PODS, None, Some(&pod));
        assert_eq!(names(graph.observe(&REPLICA_SETS, Some(&waiting), None)), ["p"], "its owner is gone");
        let again = object("o2", &[], false, &[]);
        graph.observe(&REPLICA_SETS, None, Some(&again));
        let adopted = object("p", &["o2"], false, &[]);
        assert!(graph.observe(&PODS, Some(&pod), Some(&adopted)).is_empty());
        assert_eq!(
            names(graph.observe(&REPLICA_SETS, Some(&again), Some(&object("o3", &[], false, &[])))),
            ["p"],
            "replaced under its name"
        );
    }
}
