//! Reading and writing `metadata` on an object held as a JSON tree.

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;

/// An object, or a part of one, as JSON.
pub type Tree = Value;

/// Names one object of a known resource type. `namespace` is empty for cluster-scoped objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    pub namespace: String,
    pub name: String,
}

impl ObjectKey {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    pub fn cluster(name: impl Into<String>) -> Self {
        Self::new("", name)
    }

    pub fn of(object: &Tree) -> Self {
        Self::new(namespace(object), name(object))
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

fn text<'a>(object: &'a Tree, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

pub fn name(object: &Tree) -> &str {
    text(object, "name")
}

pub fn namespace(object: &Tree) -> &str {
    text(object, "namespace")
}

pub fn uid(object: &Tree) -> &str {
    text(object, "uid")
}

/// 0 where there is none.
pub fn revision(object: &Tree) -> u64 {
    text(object, "resourceVersion").parse().unwrap_or(0)
}

pub fn generation(object: &Tree) -> i64 {
    object["metadata"]["generation"].as_i64().unwrap_or(0)
}

pub fn deletion_timestamp(object: &Tree) -> Option<&str> {
    object["metadata"]["deletionTimestamp"].as_str()
}

pub fn is_deleting(object: &Tree) -> bool {
    deletion_timestamp(object).is_some()
}

pub fn label<'a>(object: &'a Tree, key: &str) -> Option<&'a str> {
    object["metadata"]["labels"].get(key)?.as_str()
}

pub fn annotation<'a>(object: &'a Tree, key: &str) -> Option<&'a str> {
    object["metadata"]["annotations"].get(key)?.as_str()
}

pub fn labels(object: &Tree) -> BTreeMap<String, String> {
    strings(&object["metadata"]["labels"])
}

pub fn annotations(object: &Tree) -> BTreeMap<String, String> {
    strings(&object["metadata"]["annotations"])
}

/// A JSON object of strings as a map; anything else in it is left out.
pub fn strings(tree: &Tree) -> BTreeMap<String, String> {
    let entries = tree.as_object().into_iter().flatten();
    entries.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
}

pub fn finalizers(object: &Tree) -> impl Iterator<Item = &str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// The owner reference with `controller: true`.
pub fn controller_of(object: &Tree) -> Option<&Tree> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    owners.iter().find(|o| o["controller"] == true)
}

/// `metadata` for writing; made where it is missing or not an object.
pub fn metadata_mut(object: &mut Tree) -> &mut Map<String, Value> {
    entry_object(object, "metadata")
}

/// The JSON object at `key`, made where it is missing or of another type. `tree` becomes an object if it was none.
pub fn entry_object<'a>(tree: &'a mut Tree, key: &str) -> &'a mut Map<String, Value> {
    if !tree.is_object() {
        *tree = Value::Object(Map::new());
    }
    let map = tree.as_object_mut().expect("made an object just above");
    let slot = map.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut().expect("made an object just above")
}
