//! One node as a scheduling cycle sees it: what it offers and what the pods on it have taken.

use crate::plugins::inter_pod_affinity;
use coracle_client::facts::{HostPort, NodeFacts, PodFacts, Requests};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Immutable to a cycle; changed between cycles through [`NodeState::add`] and [`NodeState::remove`].
#[derive(Clone, Debug)]
pub struct NodeState {
    pub facts: Arc<NodeFacts>,
    /// The sum of what its pods request; `pods` counts them.
    pub requested: Requests,
    /// As `requested`, with upstream's assumption for containers that name no amount: (milli-CPU, bytes).
    pub scored: (i64, i64),
    /// Assigned and not ended, by UID; those assumed here too.
    pub pods: BTreeMap<Arc<str>, Arc<PodFacts>>,
    /// Those of `pods` that have something to say about other pods: affinity or anti-affinity between pods.
    pub with_terms: BTreeMap<Arc<str>, Arc<PodFacts>>,
    /// How many of `pods` each controller has here, by its UID; those being deleted do not count.
    siblings: HashMap<Arc<str>, i64>,
}

impl NodeState {
    pub fn new(facts: Arc<NodeFacts>) -> Self {
        Self {
            facts,
            requested: Requests::default(),
            scored: (0, 0),
            pods: BTreeMap::new(),
            with_terms: BTreeMap::new(),
            siblings: HashMap::new(),
        }
    }

    pub fn name(&self) -> &str {
        self.facts.meta.name()
    }

    /// Adds a pod, or replaces what was known of it.
    pub fn add(&mut self, pod: Arc<PodFacts>) {
        self.remove(&pod.meta.uid);
        self.requested.add(&pod.requests);
        self.requested.pods += 1;
        self.scored = (self.scored.0 + pod.scored.0, self.scored.1 + pod.scored.1);
        if let Some(owner) = counted_by(&pod) {
            *self.siblings.entry(owner.clone()).or_insert(0) += 1;
        }
        if inter_pod_affinity::has_terms(&pod) {
            self.with_terms.insert(pod.meta.uid.clone(), pod.clone());
        }
        self.pods.insert(pod.meta.uid.clone(), pod);
    }

    pub fn remove(&mut self, uid: &str) {
        if let Some(pod) = self.pods.remove(uid) {
            self.with_terms.remove(uid);
            if let Some(owner) = counted_by(&pod)
                && let Some(count) = self.siblings.get_mut(owner)
            {
                *count -= 1;
                if *count == 0 {
                    self.siblings.remove(owner);
                }
            }
            self.requested.subtract(&pod.requests);
            self.requested.pods -= 1;
            self.scored = (self.scored.0 - pod.scored.0, self.scored.1 - pod.scored.1);
        }
    }

    /// Pods here that this controller manages.
    pub fn siblings(&self, controller: &str) -> i64 {
        self.siblings.get(controller).copied().unwrap_or(0)
    }

    /// Ports of the host that its pods hold.
    pub fn host_ports(&self) -> impl Iterator<Item = &HostPort> {
        self.pods.values().flat_map(|pod| pod.host_ports.iter())
    }
}

fn counted_by(pod: &PodFacts) -> Option<&Arc<str>> {
    pod.meta.controller().filter(|_| !pod.meta.is_deleting()).map(|owner| &owner.uid)
}
