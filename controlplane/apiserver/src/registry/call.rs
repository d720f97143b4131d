//! One request, wherever it comes from.

use crate::resources::ResourceType;
use crate::user::UserInfo;
use coracle_proto::{ApiError, Object, ObjectKey, Resource};
use coracle_store::Term;

/// Who asks for what.
#[derive(Clone)]
pub struct Call<'a> {
    pub user: &'a UserInfo,
    pub kind: &'static dyn ResourceType,
    /// The name is empty for lists and for creating an object.
    pub key: ObjectKey,
    /// Empty: the object itself.
    pub subresource: &'a str,
    pub dry_run: bool,
    /// Writes happen only while this term rules.
    pub term: Option<Term>,
}

impl<'a> Call<'a> {
    pub fn new(user: &'a UserInfo, kind: &'static dyn ResourceType, key: ObjectKey) -> Self {
        Self { user, kind, key, subresource: "", dry_run: false, term: None }
    }

    pub fn with_subresource(mut self, subresource: &'a str) -> Self {
        self.subresource = subresource;
        self
    }

    pub fn resource(&self) -> &'static Resource {
        &self.kind.facts().resource
    }

    pub fn not_found(&self) -> ApiError {
        ApiError::not_found(self.resource(), &self.key.name)
    }

    /// Whether the type has this subresource with this verb.
    pub fn subresource_exists(&self, verb: &str) -> bool {
        let mut list = self.kind.facts().subresources.iter();
        list.any(|s| s.name == self.subresource && s.verbs.contains(&verb))
    }
}

/// An object after a write, and whether the write made it.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub object: Object,
    pub created: bool,
}
