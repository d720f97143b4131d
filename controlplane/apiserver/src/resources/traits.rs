//! What the registry must know of a resource type.

use super::table::Column;
use crate::validate::{Errors, copy_field};
use coracle_proto::{Resource, Tree, name};
use jiff::Timestamp;
use serde_json::Value;

/// What discovery says of a type, and where and how it is kept.
pub struct Facts {
    pub resource: Resource,
    pub singular: &'static str,
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    pub subresources: &'static [Subresource],
    /// The first part of the objects' keys in the store.
    pub storage: &'static str,
    /// Whether `metadata.generation` counts changes of anything but `metadata` and `status`.
    pub generation: bool,
    /// Whether `status` is written only through the status subresource.
    pub status: bool,
    /// Field selectors beside `metadata.name` and `metadata.namespace`.
    pub fields: &'static [&'static str],
    /// Whether PUT makes an object that is not there.
    pub create_on_update: bool,
    /// Whether DELETE answers with the object rather than a `Status`.
    pub returns_deleted: bool,
}

/// A path below an object, as discovery shows it.
pub struct Subresource {
    pub name: &'static str,
    /// Empty: as the object's own.
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub verbs: &'static [&'static str],
}

/// What every type here can do.
pub const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

const READ_WRITE: [&str; 3] = ["get", "patch", "update"];
pub const STATUS: Subresource = Subresource { name: "status", group: "", version: "", kind: "", verbs: &READ_WRITE };
pub const SCALE: Subresource =
    Subresource { name: "scale", group: "autoscaling", version: "v1", kind: "Scale", verbs: &READ_WRITE };

impl Facts {
    /// A type without anything special.
    pub const fn new(resource: Resource, singular: &'static str, storage: &'static str) -> Self {
        Self {
            resource,
            singular,
            short_names: &[],
            categories: &[],
            subresources: &[],
            storage,
            generation: false,
            status: false,
            fields: &[],
            create_on_update: false,
            returns_deleted: false,
        }
    }

    pub const fn short_names(mut self, names: &'static [&'static str]) -> Self {
        self.short_names = names;
        self
    }

    pub const fn categories(mut self, categories: &'static [&'static str]) -> Self {
        self.categories = categories;
        self
    }

    pub const fn subresources(mut self, subresources: &'static [Subresource]) -> Self {
        self.subresources = subresources;
        self
    }

    pub const fn fields(mut self, fields: &'static [&'static str]) -> Self {
        self.fields = fields;
        self
    }

    pub const fn generation(mut self) -> Self {
        self.generation = true;
        self
    }

    pub const fn status(mut self) -> Self {
        self.status = true;
        self
    }

    pub const fn create_on_update(mut self) -> Self {
        self.create_on_update = true;
        self
    }

    pub const fn returns_deleted(mut self) -> Self {
        self.returns_deleted = true;
        self
    }
}

/// A kind's rules. All pure: what needs the store (allocation, admission) is the registry's.
pub trait ResourceType: Send + Sync + 'static {
    fn facts(&self) -> &'static Facts;

    /// `None` for a good `metadata.name`.
    fn validate_name(&self, name: &str) -> Option<String> {
        name::dns1123_subdomain(name)
    }

    /// Defaults that depend on other fields; the fixed ones are in the schema.
    fn set_defaults(&self, _object: &mut Tree) {}

    /// What the server decides about a new object.
    fn prepare_create(&self, object: &mut Tree) {
        if self.facts().status {
            object.as_object_mut().and_then(|o| o.remove("status"));
        }
    }

    /// What the server decides about a replacement.
    fn prepare_update(&self, new: &mut Tree, old: &Tree) {
        if self.facts().status {
            copy_field(new, old, "status");
        }
    }

    fn validate(&self, object: &Tree, errors: &mut Errors);

    /// What may not change; [`Self::validate`] has looked at `new` already.
    fn validate_update(&self, _new: &Tree, _old: &Tree, _errors: &mut Errors) {}

    /// The object after a write to its status subresource.
    fn with_status(&self, new: &Tree, old: &Tree) -> Tree {
        let mut merged = old.clone();
        copy_field(&mut merged, new, "status");
        merged
    }

    fn validate_status(&self, _new: &Tree, _old: &Tree, _errors: &mut Errors) {}

    /// Reads the value of a selectable field, where it is not simply at its path.
    fn field(&self, object: &Tree, path: &str) -> String {
        let found = path.split('.').fold(object, |tree, step| &tree[step]);
        match found {
            Value::String(s) => s.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        }
    }

    fn columns(&self) -> &'static [Column];

    /// One cell per column.
    fn row(&self, object: &Tree, now: Timestamp) -> Vec<Value>;

    /// From the form this type is served in to the one it is stored in.
    fn to_storage(&self, _object: &mut Tree) {}

    fn to_served(&self, _object: &mut Tree) {}

    /// Whether stored bytes can be served as they are.
    fn served_as_stored(&self) -> bool {
        true
    }
}
