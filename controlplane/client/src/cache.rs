//! What an informer holds: projections and shared bytes by key, with indexes. Pure data; the informer locks it.

use crate::facts::Project;
use coracle_proto::{Object, ObjectKey};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// One change of one key. At least one of `old` and `new` is there.
#[derive(Debug)]
pub struct Delta<T> {
    pub key: Arc<ObjectKey>,
    pub old: Option<Arc<T>>,
    pub new: Option<Arc<T>>,
}

impl<T> Clone for Delta<T> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), old: self.old.clone(), new: self.new.clone() }
    }
}

impl<T> Delta<T> {
    /// The newest state there is: the last one, if the object is gone.
    pub fn latest(&self) -> &Arc<T> {
        self.new.as_ref().or(self.old.as_ref()).expect("a delta has an old or a new side")
    }
}

pub(crate) struct Cached<T> {
    pub(crate) facts: Arc<T>,
    pub(crate) object: Object,
}

type Keys = BTreeSet<Arc<ObjectKey>>;

pub(crate) struct Cache<T> {
    items: BTreeMap<Arc<ObjectKey>, Cached<T>>,
    by_owner: HashMap<Arc<str>, Keys>,
    /// One per `T::indexes()`, in its order.
    extra: Vec<HashMap<String, Keys>>,
    /// Everything up to here has been seen.
    pub(crate) revision: u64,
}

impl<T: Project> Cache<T> {
    pub(crate) fn new() -> Self {
        let extra = T::indexes().iter().map(|_| HashMap::new()).collect();
        Self { items: BTreeMap::new(), by_owner: HashMap::new(), extra, revision: 0 }
    }

    pub(crate) fn get(&self, key: &ObjectKey) -> Option<&Cached<T>> {
        self.items.get(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Arc<ObjectKey>> {
        self.items.keys()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Cached<T>> {
        self.items.values()
    }

    pub(crate) fn in_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Cached<T>> {
        let first = ObjectKey::new(namespace, "");
        self.items.range::<ObjectKey, _>(first..).map(|(_, c)| c).take_while(move |c| {
            let meta = c.facts.meta();
            meta.namespace() == namespace
        })
    }

    pub(crate) fn owned_by(&self, uid: &str) -> impl Iterator<Item = &Cached<T>> {
        self.by_owner.get(uid).into_iter().flatten().filter_map(|key| self.items.get(key))
    }

    /// Panics on an index `T` does not have: a programming error.
    pub(crate) fn indexed(&self, index: &str, value: &str) -> impl Iterator<Item = &Cached<T>> {
        let at = T::indexes().iter().position(|i| i.name == index).expect("the index is one of T::indexes()");
        self.extra[at].get(value).into_iter().flatten().filter_map(|key| self.items.get(key))
    }

    /// `None` if the cache already holds this revision or a newer one.
    pub(crate) fn put(&mut self, facts: T, object: Object) -> Option<Delta<T>> {
        let key = facts.meta().key.clone();
        let known = self.items.get(&key);
        if known.is_some_and(|c| c.object.revision >= object.revision) {
            return None;
        }
        let old = self.unlink(&key);
        let new = Arc::new(facts);
        self.link(&key, &new);
        self.items.insert(key.clone(), Cached { facts: new.clone(), object });
        Some(Delta { key, old, new: Some(new) })
    }

    /// `None` if there is no such object, or only one that was created after `at`.
    pub(crate) fn remove(&mut self, key: &ObjectKey, at: u64) -> Option<Delta<T>> {
        if self.items.get(key)?.object.revision > at {
            return None;
        }
        let old = self.unlink(key)?;
        Some(Delta { key: old.meta().key.clone(), old: Some(old), new: None })
    }

    fn link(&mut self, key: &Arc<ObjectKey>, facts: &T) {
        for owner in &*facts.meta().owners {
            self.by_owner.entry(owner.uid.clone()).or_default().insert(key.clone());
        }
        for (index, map) in T::indexes().iter().zip(&mut self.extra) {
            for value in (index.values)(facts) {
                map.entry(value).or_default().insert(key.clone());
            }
        }
    }

    fn unlink(&mut self, key: &ObjectKey) -> Option<Arc<T>> {
        let facts = self.items.remove(key)?.facts;
        for owner in &*facts.meta().owners {
            forget(&mut self.by_owner, &owner.uid, key);
        }
        for (index, map) in T::indexes().iter().zip(&mut self.extra) {
            for value in (index.values)(&facts) {
                forget(map, value.as_str(), key);
            }
        }
        Some(facts)
    }
}

fn forget<K>(index: &mut HashMap<K, Keys>, value: &str, key: &ObjectKey)
where
    K: std::hash::Hash + Eq + std::borrow::Borrow<str>,
{
    if let Some(keys) = index.get_mut(value) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(value);
        }
    }
}
