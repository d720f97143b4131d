//! What every object has: identity, labels, owners, deletion. By itself the projection for whoever works on all kinds.

use super::Project;
use crate::intern::Interner;
use coracle_proto::{ApiError, Object, ObjectKey, Resource, Tree, time};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

pub type Labels = BTreeMap<String, String>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    pub key: Arc<ObjectKey>,
    pub uid: Arc<str>,
    /// `resourceVersion`.
    pub revision: u64,
    pub generation: i64,
    /// Shared between objects with equal labels.
    pub labels: Arc<Labels>,
    /// Shared between objects with the same owners.
    pub owners: Arc<[Owner]>,
    pub created: Timestamp,
    pub deletion: Option<Timestamp>,
    pub finalizers: Box<[Box<str>]>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Owner {
    pub api_version: Arc<str>,
    pub kind: Arc<str>,
    pub name: Arc<str>,
    pub uid: Arc<str>,
    pub controller: bool,
    pub block_owner_deletion: bool,
}

impl Owner {
    /// The controlling reference to `meta`, an object of `resource`.
    pub fn controller(resource: &Resource, meta: &Meta) -> Self {
        Self {
            api_version: resource.api_version().into(),
            kind: resource.kind.as_ref().into(),
            name: meta.name().into(),
            uid: meta.uid.clone(),
            controller: true,
            block_owner_deletion: true,
        }
    }

    /// As it stands in `metadata.ownerReferences`.
    pub fn tree(&self) -> Tree {
        serde_json::json!({
            "apiVersion": self.api_version, "kind": self.kind, "name": self.name, "uid": self.uid,
            "controller": self.controller, "blockOwnerDeletion": self.block_owner_deletion,
        })
    }
}

impl Meta {
    pub fn namespace(&self) -> &str {
        &self.key.namespace
    }

    pub fn name(&self) -> &str {
        &self.key.name
    }

    pub fn is_deleting(&self) -> bool {
        self.deletion.is_some()
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }

    /// The owner that manages this object, if any.
    pub fn controller(&self) -> Option<&Owner> {
        self.owners.iter().find(|o| o.controller)
    }

    /// For an index of objects without a controller: their namespace.
    pub(super) fn unowned_in(&self) -> Vec<String> {
        if self.controller().is_some() { Vec::new() } else { vec![self.key.namespace.clone()] }
    }

    pub fn is_controlled_by(&self, uid: &str) -> bool {
        self.controller().is_some_and(|o| &*o.uid == uid)
    }
}

impl Project for Meta {
    fn project(object: &Object) -> Result<Self, ApiError> {
        object_meta(object)
    }

    fn meta(&self) -> &Meta {
        self
    }
}

fn object_meta(object: &Object) -> Result<Meta, ApiError> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        metadata: RawMeta<'a>,
    }
    let envelope: Envelope<'_> = decode(object)?;
    envelope.metadata.meta(object.revision)
}

/// Decodes borrowing from the object's bytes.
pub(super) fn decode<'a, T: Deserialize<'a>>(object: &'a Object) -> Result<T, ApiError> {
    serde_json::from_slice(&object.json).map_err(malformed)
}

pub(super) fn malformed(e: serde_json::Error) -> ApiError {
    ApiError::internal(format_args!("decoding a stored object: {e}"))
}

/// `metadata` as it stands in JSON, borrowed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawMeta<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    namespace: Option<Cow<'a, str>>,
    #[serde(borrow)]
    uid: Option<Cow<'a, str>>,
    generation: Option<i64>,
    #[serde(borrow)]
    labels: Option<&'a RawValue>,
    #[serde(borrow)]
    owner_references: Option<&'a RawValue>,
    #[serde(borrow)]
    creation_timestamp: Option<Cow<'a, str>>,
    #[serde(borrow)]
    deletion_timestamp: Option<Cow<'a, str>>,
    finalizers: Option<Box<[Box<str>]>>,
    #[serde(borrow)]
    annotations: Option<BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
}

static LABELS: Interner<Labels> = Interner::new();
static OWNERS: Interner<[Owner]> = Interner::new();

impl RawMeta<'_> {
    pub(super) fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(AsRef::as_ref)
    }

    pub(super) fn meta(self, revision: u64) -> Result<Meta, ApiError> {
        let labels = self.labels.map_or("{}", RawValue::get);
        let owners = self.owner_references.map_or("[]", RawValue::get);
        Ok(Meta {
            key: Arc::new(ObjectKey::new(self.namespace.unwrap_or_default(), self.name)),
            uid: self.uid.unwrap_or_default().into(),
            revision,
            generation: self.generation.unwrap_or(0),
            labels: LABELS.get(labels, || serde_json::from_str(labels).map(Arc::new)).map_err(malformed)?,
            owners: OWNERS
                .get(owners, || serde_json::from_str::<Vec<Owner>>(owners).map(Arc::from))
                .map_err(malformed)?,
            created: instant(self.creation_timestamp.as_deref()).unwrap_or(Timestamp::UNIX_EPOCH),
            deletion: instant(self.deletion_timestamp.as_deref()),
            finalizers: self.finalizers.unwrap_or_default(),
        })
    }
}

pub(super) fn instant(text: Option<&str>) -> Option<Timestamp> {
    text.and_then(time::parse)
}
