//! The nodes and the pods on them, kept up to date from the informers' changes and from what the scheduler assumed.

use crate::images::Images;
use crate::node::NodeState;
use crate::snapshot::{Namespaces, Snapshot};
use coracle_client::facts::{Labels, NodeFacts, PodFacts};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

#[derive(Default)]
pub struct World {
    /// A node that pods name but nobody has described yet has no facts and takes no pods.
    nodes: BTreeMap<Box<str>, NodeState>,
    /// Pods of nodes that are not there (yet), by node and UID.
    stray: BTreeMap<Box<str>, HashMap<Arc<str>, Arc<PodFacts>>>,
    /// Where each pod counts, by UID.
    places: HashMap<Arc<str>, Box<str>>,
    /// Placed here, the binding not yet seen: the node it was placed on, by UID.
    assumed: HashMap<Arc<str>, Box<str>>,
    namespaces: Namespaces,
    images: Images,
}

/// Which waiting pods a change may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    Nothing,
    /// Those that mind which pods run where.
    Company,
    /// Any.
    Room,
}

impl World {
    /// What a cycle decides on.
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot { nodes: self.nodes.values().collect(), namespaces: &self.namespaces, images: &self.images }
    }

    pub fn is_assumed(&self, uid: &str) -> bool {
        self.assumed.contains_key(uid)
    }

    /// `None`: it is gone.
    pub fn set_namespace(&mut self, name: &str, labels: Option<Arc<Labels>>) -> Effect {
        let before = match labels.clone() {
            Some(labels) => self.namespaces.insert(name.into(), labels),
            None => self.namespaces.remove(name),
        };
        if before == labels { Effect::Nothing } else { Effect::Company }
    }

    pub fn set_node(&mut self, facts: Arc<NodeFacts>) -> Effect {
        let name: Box<str> = facts.meta.name().into();
        if let Some(node) = self.nodes.get_mut(&name) {
            self.images.replace(&facts.meta.key, &node.facts.images, &facts.images);
            let differs = offers_differ(&node.facts, &facts);
            node.facts = facts;
            return if differs { Effect::Room } else { Effect::Nothing };
        }
        self.images.replace(&facts.meta.key, &[], &facts.images);
        let mut node = NodeState::new(facts);
        for pod in self.stray.remove(&name).into_iter().flatten().map(|(_, pod)| pod) {
            node.add(pod);
        }
        self.nodes.insert(name, node);
        Effect::Room
    }

    /// One domain less may make a spread fair that was not.
    pub fn remove_node(&mut self, name: &str) -> Effect {
        let Some(node) = self.nodes.remove(name) else { return Effect::Nothing };
        self.images.replace(&node.facts.meta.key, &node.facts.images, &[]);
        if !node.pods.is_empty() {
            self.stray.entry(name.into()).or_default().extend(node.pods);
        }
        Effect::Company
    }

    /// What the API says of an assigned pod that has not ended. It replaces what was assumed.
    pub fn set_pod(&mut self, pod: Arc<PodFacts>) -> Effect {
        let before = if self.assumed.remove(&pod.meta.uid).is_some() { None } else { self.find(&pod.meta.uid) };
        let effect = match before {
            Some(old) if old.node_name != pod.node_name => Effect::Room,
            Some(old) if old.requests != pod.requests => Effect::Room,
            Some(old) if old.meta.labels == pod.meta.labels && old.meta.deletion == pod.meta.deletion => {
                Effect::Nothing
            }
            _ => Effect::Company,
        };
        let node = pod.node_name.clone();
        self.place(pod, node);
        effect
    }

    /// The pod is placed on `node`, its binding under way.
    pub fn assume(&mut self, pod: Arc<PodFacts>, node: &str) {
        self.assumed.insert(pod.meta.uid.clone(), node.into());
        self.place(pod, node.into());
    }

    /// Takes an assumption back, unless the binding has been seen meanwhile.
    pub fn forget_assumed(&mut self, uid: &str) {
        if self.assumed.contains_key(uid) {
            self.remove_pod(uid);
        }
    }

    /// The pod has ended or is gone.
    pub fn remove_pod(&mut self, uid: &str) -> Effect {
        self.assumed.remove(uid);
        let Some(name) = self.places.remove(uid) else { return Effect::Nothing };
        if let Some(node) = self.nodes.get_mut(&name) {
            node.remove(uid);
        } else if let Some(pods) = self.stray.get_mut(&name) {
            pods.remove(uid);
            if pods.is_empty() {
                self.stray.remove(&name);
            }
        }
        Effect::Room
    }

    fn find(&self, uid: &str) -> Option<&PodFacts> {
        let name = self.places.get(uid)?;
        let stray = || self.stray.get(name)?.get(uid);
        self.nodes.get(name).and_then(|node| node.pods.get(uid)).or_else(stray).map(AsRef::as_ref)
    }

    fn place(&mut self, pod: Arc<PodFacts>, name: Box<str>) {
        let uid = pod.meta.uid.clone();
        if self.places.get(&uid).is_some_and(|old| *old != name) {
            let assumed = self.assumed.remove(&uid);
            self.remove_pod(&uid);
            self.assumed.extend(assumed.map(|node| (uid.clone(), node)));
        }
        match self.nodes.get_mut(&name) {
            Some(node) => node.add(pod),
            None => {
                self.stray.entry(name.clone()).or_default().insert(uid.clone(), pod);
            }
        }
        self.places.insert(uid, name);
    }
}

/// Whether a pod that did not fit before might fit now. Heartbeats and the like change nothing.
fn offers_differ(old: &NodeFacts, new: &NodeFacts) -> bool {
    old.allocatable != new.allocatable
        || old.taints != new.taints
        || old.unschedulable != new.unschedulable
        || old.meta.labels != new.meta.labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{labelled_node, namespace, pod, pod_from};
    use serde_json::json;

    fn taken(world: &World, node: &str) -> i64 {
        world.snapshot().nodes.iter().find(|n| n.name() == node).map_or(-1, |n| n.requested.milli_cpu)
    }

    fn on(node: &str) -> Arc<PodFacts> {
        pod("p", json!({"nodeName": node, "containers": [{"resources": {"requests": {"cpu": "1"}}}]}))
    }

    #[test]
    fn an_assumption_holds_until_the_api_speaks() {
        let mut world = World::default();
        world.set_node(labelled_node("a", json!({})));
        world.set_node(labelled_node("b", json!({})));
        world.assume(on(""), "a");
        assert!(world.is_assumed("p"));
        assert_eq!((taken(&world, "a"), taken(&world, "b")), (1000, 0));
        world.set_pod(on("b"));
        assert!(!world.is_assumed("p"));
        assert_eq!((taken(&world, "a"), taken(&world, "b")), (0, 1000));
        world.forget_assumed("p");
        assert_eq!(taken(&world, "b"), 1000, "what was seen is no assumption");
        assert_eq!(world.remove_pod("p"), Effect::Room);
        assert_eq!(world.remove_pod("p"), Effect::Nothing);
        assert_eq!(taken(&world, "b"), 0);
    }

    #[test]
    fn pods_wait_for_their_node() {
        let mut world = World::default();
        world.set_pod(on("late"));
        world.set_node(labelled_node("late", json!({})));
        assert_eq!(taken(&world, "late"), 1000);
        world.remove_node("late");
        assert_eq!(taken(&world, "late"), -1);
        world.set_node(labelled_node("late", json!({})));
        assert_eq!(taken(&world, "late"), 1000);
    }

    #[test]
    fn only_changes_that_may_help_have_an_effect() {
        let mut world = World::default();
        assert_eq!(world.set_node(labelled_node("a", json!({}))), Effect::Room);
        assert_eq!(world.set_node(labelled_node("a", json!({}))), Effect::Nothing);
        assert_eq!(world.set_node(labelled_node("a", json!({"zone": "1"}))), Effect::Room);
        assert_eq!(world.set_pod(on("a")), Effect::Company);
        assert_eq!(world.set_pod(on("a")), Effect::Nothing);
        let labelled = json!({"metadata": {"name": "p", "uid": "p", "labels": {"a": "b"}}, "spec":
            {"nodeName": "a", "containers": [{"resources": {"requests": {"cpu": "1"}}}]}});
        assert_eq!(world.set_pod(pod_from(labelled)), Effect::Company);
        world.assume(pod("q", json!({})), "a");
        assert_eq!(world.set_pod(pod("q", json!({"nodeName": "a"}))), Effect::Company, "now others may rely on it");
        let labels = Some(namespace("n", json!({"a": "b"})).labels.clone());
        assert_eq!(world.set_namespace("n", labels.clone()), Effect::Company);
        assert_eq!(world.set_namespace("n", labels), Effect::Nothing);
        assert_eq!(world.set_namespace("n", None), Effect::Company);
        assert_eq!(world.remove_node("a"), Effect::Company);
    }
}
