//! Who owns whom, from the metadata of every object there is. Pure: it is told changes and says what to look at.

use coracle_client::Meta;
use coracle_client::facts::Owner;
use coracle_proto::{ObjectKey, Resource};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

pub(super) const ORPHAN: &str = "orphan";
pub(super) const FOREGROUND: &str = "foregroundDeletion";

/// One object, as the collector's queue names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Item {
    pub(super) resource: Resource,
    pub(super) key: ObjectKey,
    pub(super) uid: Arc<str>,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.resource.qualified(), self.key)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) item: Item,
    pub(super) owners: Arc<[Owner]>,
    /// It is being deleted, and waits for its dependents.
    pub(super) foreground: bool,
}

#[derive(Default)]
pub(super) struct Graph {
    nodes: HashMap<Arc<str>, Node>,
    /// By the owner's uid, whether that owner exists or not.
    dependents: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
}

pub(super) fn is_held_by(meta: &Meta, finalizer: &str) -> bool {
    meta.is_deleting() && meta.finalizers.iter().any(|f| &**f == finalizer)
}

impl Graph {
    /// Takes in one change and returns what has to be looked at because of it.
    pub(super) fn observe(&mut self, resource: &Resource, old: Option<&Meta>, new: Option<&Meta>) -> Vec<Item> {
        let mut look = Vec::new();
        if let Some(old) = old.filter(|old| new.is_none_or(|new| new.uid != old.uid)) {
            look.extend(self.remove(&old.uid));
        }
        if let Some(new) = new {
            look.extend(self.put(resource, new));
        }
        look
    }

    fn put(&mut self, resource: &Resource, meta: &Meta) -> Vec<Item> {
        let item = Item { resource: resource.clone(), key: ObjectKey::clone(&meta.key), uid: meta.uid.clone() };
        let foreground = is_held_by(meta, FOREGROUND);
        let node = Node { item: item.clone(), owners: meta.owners.clone(), foreground };
        let before = self.nodes.insert(meta.uid.clone(), node);
        let same_owners = before.as_ref().is_some_and(|b| b.owners == meta.owners);
        if !same_owners {
            self.unlink(&meta.uid, before.as_ref());
            for owner in &*meta.owners {
                self.dependents.entry(owner.uid.clone()).or_default().insert(meta.uid.clone());
            }
        }
        let mut look = Vec::new();
        // A solid owner that is in the graph needs no look; any other is checked with the API.
        let doubtful = meta.owners.iter().any(|o| self.nodes.get(&o.uid).is_none_or(|owner| owner.foreground));
        let turned_foreground = foreground && before.as_ref().is_none_or(|b| !b.foreground);
        if (!same_owners && doubtful) || turned_foreground || is_held_by(meta, ORPHAN) {
            look.push(item);
        }
        if turned_foreground {
            look.extend(self.dependents_of(&meta.uid).into_iter().map(|d| d.item));
        }
        // An owner that waits may have one dependent less in its way.
        if let Some(before) = before.filter(|_| !same_owners) {
            look.extend(self.waiting(&before.owners));
        }
        look
    }

    fn remove(&mut self, uid: &str) -> Vec<Item> {
        let Some(node) = self.nodes.remove(uid) else { return Vec::new() };
        self.unlink(uid, Some(&node));
        let mut look: Vec<Item> = self.dependents_of(uid).into_iter().map(|d| d.item).collect();
        look.extend(self.waiting(&node.owners));
        look
    }

    fn unlink(&mut self, uid: &str, node: Option<&Node>) {
        for owner in node.iter().flat_map(|n| &*n.owners) {
            if let Some(set) = self.dependents.get_mut(&owner.uid) {
                set.remove(uid);
                if set.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
    }

    fn waiting(&self, owners: &[Owner]) -> Vec<Item> {
        let nodes = owners.iter().filter_map(|o| self.nodes.get(&o.uid));
        nodes.filter(|n| n.foreground).map(|n| n.item.clone()).collect()
    }

    pub(super) fn dependents_of(&self, uid: &str) -> Vec<Node> {
        let uids = self.dependents.get(uid).into_iter().flatten();
        uids.filter_map(|uid| self.nodes.get(uid)).cloned().collect()
    }

    /// The API says it is gone; the watch will say so too, or never saw it.
    pub(super) fn forget(&mut self, uid: &str) -> Vec<Item> {
        self.remove(uid)
    }
}

impl Node {
    /// Whether the owner must wait for this dependent in a foreground deletion.
    pub(super) fn blocks(&self, owner: &str) -> bool {
        self.owners.iter().any(|o| &*o.uid == owner && o.block_owner_deletion)
    }
}
