//! The nodes and the pods on them, kept up to date from the informers' changes and from what the scheduler assumed.

use crate::node::NodeState;
use coracle_client::facts::{NodeFacts, PodFacts};
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
}

impl World {
    pub fn nodes(&self) -> impl Iterator<Item = &NodeState> {
        self.nodes.values()
    }

    pub fn is_assumed(&self, uid: &str) -> bool {
        self.assumed.contains_key(uid)
    }

    pub fn set_node(&mut self, facts: Arc<NodeFacts>) {
        let name: Box<str> = facts.meta.name().into();
        if let Some(node) = self.nodes.get_mut(&name) {
            node.facts = facts;
            return;
        }
        let mut node = NodeState::new(facts);
        for pod in self.stray.remove(&name).into_iter().flatten().map(|(_, pod)| pod) {
            node.add(pod);
        }
        self.nodes.insert(name, node);
    }

    pub fn remove_node(&mut self, name: &str) {
        if let Some(node) = self.nodes.remove(name) {
            self.stray.entry(name.into()).or_default().extend(node.pods);
        }
    }

    /// What the API says of an assigned pod that has not ended. It replaces what was assumed.
    pub fn set_pod(&mut self, pod: Arc<PodFacts>) {
        self.assumed.remove(&pod.meta.uid);
        let node = pod.node_name.clone();
        self.place(pod, node);
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

    /// The pod has ended or is gone. Returns whether it took room.
    pub fn remove_pod(&mut self, uid: &str) -> bool {
        self.assumed.remove(uid);
        let Some(name) = self.places.remove(uid) else { return false };
        if let Some(node) = self.nodes.get_mut(&name) {
            node.remove(uid);
        } else if let Some(pods) = self.stray.get_mut(&name) {
            pods.remove(uid);
            if pods.is_empty() {
                self.stray.remove(&name);
            }
        }
        true
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{labelled_node, pod};
    use serde_json::json;

    fn taken(world: &World, node: &str) -> i64 {
        world.nodes().find(|n| n.name() == node).map_or(-1, |n| n.requested.milli_cpu)
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
        assert!(world.remove_pod("p"));
        assert!(!world.remove_pod("p"));
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
}
