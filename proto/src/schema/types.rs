//! What a type is made of: fields with their JSON names, shapes, protobuf numbers and merge rules.

use std::sync::Arc;

/// One struct of the API, e.g. `io.k8s.api.core.v1.PodSpec`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Type {
    /// The OpenAPI definition's name.
    pub name: String,
    /// The kinds this type is the schema of; empty for parts of other types.
    pub kinds: Vec<GroupVersionKind>,
    /// Sorted by name.
    pub fields: Vec<Field>,
    /// Unknown fields are kept, not dropped: a custom resource's `x-kubernetes-preserve-unknown-fields`.
    pub preserve_unknown: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct GroupVersionKind {
    /// Empty for the core group.
    pub group: String,
    pub version: String,
    pub kind: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// As in JSON.
    pub name: String,
    pub shape: Shape,
    /// The way to this field in protobuf. More than one number: the outer ones are of messages that JSON inlines,
    /// as `Volume.volumeSource`. Empty: not in protobuf.
    pub number: Vec<u32>,
    /// Written even when zero: the field has no `omitempty` upstream.
    pub required: bool,
    /// Go holds a pointer, so an explicit zero differs from an absent field and is kept.
    pub pointer: bool,
    /// For lists.
    pub list: ListKind,
    pub patch: PatchStrategy,
    /// `x-kubernetes-map-type: atomic`: server-side apply takes the value as a whole.
    pub atomic: bool,
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ListKind {
    #[default]
    Atomic,
    Set,
    /// Elements are told apart by these keys.
    Map(Vec<String>),
}

/// `patchStrategy` and `patchMergeKey`, which strategic merge goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists are merged, not replaced.
    pub merge: bool,
    /// Fields absent from `$retainKeys` are dropped.
    pub retain_keys: bool,
    /// For merged lists of objects.
    pub merge_key: Option<String>,
}

/// What a value may be.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    String,
    Bool,
    Int32,
    Int64,
    Double,
    /// Base64 in JSON.
    Bytes,
    Quantity,
    IntOrString,
    /// RFC 3339, whole seconds.
    Time,
    /// RFC 3339, microseconds.
    MicroTime,
    /// Any JSON: `RawExtension`, `FieldsV1`, schema-less parts.
    Any,
    Object(TypeRef),
    List(Box<Shape>),
    /// Keys are strings.
    Map(Box<Shape>),
}

/// A type, by place in the table of built-in ones or held directly. Cheap to clone; may be recursive.
#[derive(Clone, Debug, PartialEq)]
pub enum TypeRef {
    Builtin(u16),
    Owned(Arc<Type>),
}

impl TypeRef {
    pub fn get(&self) -> &Type {
        match self {
            Self::Builtin(at) => super::table::by_index(*at),
            Self::Owned(ty) => ty,
        }
    }
}

impl Type {
    pub fn field(&self, name: &str) -> Option<&Field> {
        let at = self.fields.binary_search_by(|f| f.name.as_str().cmp(name)).ok()?;
        Some(&self.fields[at])
    }

    /// The last part of the name: `PodSpec`.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }

    /// As Go prints it: `v1.PodSpec`.
    pub fn go_name(&self) -> &str {
        match self.name.rmatch_indices('.').nth(1) {
            Some((at, _)) => &self.name[at + 1..],
            None => &self.name,
        }
    }
}
