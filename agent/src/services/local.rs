//! What this node knows of its own pods before the API does: pure.

use super::facts::SliceFacts;
use coracle_proto::ObjectKey;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalState {
    NotReady,
    Terminating,
}

/// By the pod's UID.
#[derive(Debug, Default)]
pub struct Local {
    states: BTreeMap<String, LocalState>,
    /// Ended pods that slices may still name as ready.
    leaving: BTreeSet<String>,
}

impl Local {
    pub fn states(&self) -> &BTreeMap<String, LocalState> {
        &self.states
    }

    /// Whether something changed.
    pub fn set(&mut self, uid: String, state: LocalState) -> bool {
        self.states.insert(uid, state) != Some(state)
    }

    /// Leaves the pod to the API again; one that ended only when no slice names it any more, for its address is dead.
    pub fn forget(&mut self, uid: &str, slices: &BTreeMap<ObjectKey, SliceFacts>) -> bool {
        match self.states.get(uid) {
            None => false,
            Some(LocalState::Terminating) if is_named(uid, slices) => {
                self.leaving.insert(uid.to_owned());
                false
            }
            Some(_) => self.states.remove(uid).is_some(),
        }
    }

    /// After the slices changed.
    pub fn prune(&mut self, slices: &BTreeMap<ObjectKey, SliceFacts>) {
        let (states, leaving) = (&mut self.states, &mut self.leaving);
        leaving.retain(|uid| {
            let named = is_named(uid, slices);
            if !named {
                states.remove(uid);
            }
            named
        });
    }
}

fn is_named(uid: &str, slices: &BTreeMap<ObjectKey, SliceFacts>) -> bool {
    slices.values().flat_map(|s| &s.endpoints).any(|e| e.pod_uid.as_deref() == Some(uid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::facts::EndpointFacts;
    use std::net::Ipv4Addr;

    fn slices(uids: &[&str]) -> BTreeMap<ObjectKey, SliceFacts> {
        let endpoint = |uid: &&str| EndpointFacts {
            address: Ipv4Addr::LOCALHOST,
            ready: true,
            serving: true,
            terminating: false,
            node: None,
            hostname: None,
            pod_uid: Some((*uid).to_owned()),
        };
        let endpoints = uids.iter().map(endpoint).collect();
        let key = ObjectKey::new("d", "s");
        [(key.clone(), SliceFacts { key, endpoints, ..SliceFacts::default() })].into()
    }

    #[test]
    fn an_ended_pod_stays_out_until_no_slice_names_it() {
        let mut local = Local::default();
        assert!(local.set("a".into(), LocalState::Terminating));
        assert!(!local.set("a".into(), LocalState::Terminating));
        assert!(!local.forget("a", &slices(&["a", "b"])));
        local.prune(&slices(&["a"]));
        assert!(local.states().contains_key("a"));
        local.prune(&slices(&["b"]));
        assert!(local.states().is_empty() && local.leaving.is_empty());
    }

    #[test]
    fn a_pod_that_is_ready_again_is_the_apis_at_once() {
        let mut local = Local::default();
        local.set("a".into(), LocalState::NotReady);
        assert!(local.forget("a", &slices(&["a"])));
        assert!(!local.forget("a", &slices(&["a"])));
        local.set("b".into(), LocalState::Terminating);
        assert!(local.forget("b", &slices(&[])));
    }
}
