//! What a type is made of: fields with their JSON names, shapes, protobuf numbers, merge rules and defaults.

use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

type Text = Cow<'static, str>;

/// One struct of the API, e.g. `io.k8s.api.core.v1.PodSpec`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Type {
    /// The OpenAPI definition's name.
    pub name: Text,
    /// The kinds this type is the schema of; empty for parts of other types. `*` is any.
    pub kinds: Vec<GroupVersionKind>,
    /// Sorted by name.
    pub fields: Vec<Field>,
    /// In the order they are applied.
    pub defaults: Vec<DefaultRule>,
    /// `x-kubernetes-map-type: atomic`: server-side apply takes a value of this type as a whole.
    pub atomic: bool,
    /// Unknown fields are kept, not dropped: a custom resource's `x-kubernetes-preserve-unknown-fields`.
    pub preserve_unknown: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct GroupVersionKind {
    /// Empty for the core group.
    pub group: Text,
    pub version: Text,
    pub kind: Text,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// As in JSON.
    pub name: Text,
    pub shape: Shape,
    /// The way to this field in protobuf. More than one number: the outer ones are of messages that JSON inlines,
    /// as `Volume.volumeSource`. Empty: not in protobuf.
    pub number: Box<[u32]>,
    /// Written even when zero: the field has no `omitempty` upstream.
    pub required: bool,
    /// Go holds a pointer, so an explicit zero differs from an absent field and is kept.
    pub pointer: bool,
    /// For lists.
    pub list: ListKind,
    pub patch: PatchStrategy,
    /// As [`Type::atomic`], for this field alone.
    pub atomic: bool,
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ListKind {
    #[default]
    Atomic,
    Set,
    /// Elements are told apart by these keys.
    Map(Vec<Text>),
}

/// `patchStrategy` and `patchMergeKey`, which strategic merge goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists are merged, not replaced.
    pub merge: bool,
    /// Objects are replaced, not merged.
    pub replace: bool,
    /// Clients send `$retainKeys`: what it does not name is dropped.
    pub retain_keys: bool,
    /// For merged lists of objects.
    pub merge_key: Option<Text>,
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

/// A value for a field that is absent.
#[derive(Clone, Debug, PartialEq)]
pub struct DefaultRule {
    /// All but the last step must be there.
    pub path: Vec<Text>,
    pub value: Value,
    pub condition: Condition,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    Always,
    /// The neighbour `field` is one of these strings.
    FieldIs {
        field: Text,
        one_of: Vec<Text>,
    },
    /// No field but this one is set.
    Alone(Text),
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
        let at = self.fields.binary_search_by(|f| f.name.as_ref().cmp(name)).ok()?;
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

impl Field {
    /// Whether Go would write this value: null, and zeros of what has `omitempty`, are left out.
    pub fn keeps(&self, value: &Value) -> bool {
        if value.is_null() {
            return false;
        }
        if self.required || self.pointer {
            return true;
        }
        match (&self.shape, value) {
            (Shape::Any | Shape::IntOrString, _) => true,
            (_, Value::String(text)) => !text.is_empty(),
            (_, Value::Bool(set)) => *set,
            (_, Value::Number(number)) => number.as_f64() != Some(0.0),
            (_, Value::Array(items)) => !items.is_empty(),
            (Shape::Map(_), Value::Object(entries)) => !entries.is_empty(),
            _ => true,
        }
    }
}

impl Shape {
    /// As Go's error messages name the type.
    pub fn go_name(&self) -> String {
        match self {
            Self::String => "string".into(),
            Self::Bool => "bool".into(),
            Self::Int32 => "int32".into(),
            Self::Int64 => "int64".into(),
            Self::Double => "float64".into(),
            Self::Bytes => "[]uint8".into(),
            Self::Quantity => "resource.Quantity".into(),
            Self::IntOrString => "intstr.IntOrString".into(),
            Self::Time => "v1.Time".into(),
            Self::MicroTime => "v1.MicroTime".into(),
            Self::Any => "interface {}".into(),
            Self::Object(ty) => ty.get().go_name().to_owned(),
            Self::List(item) => format!("[]{}", item.go_name()),
            Self::Map(item) if **item == Self::Quantity => "v1.ResourceList".into(),
            Self::Map(item) => format!("map[string]{}", item.go_name()),
        }
    }

    /// What Go reads `null` as inside a list or a map.
    pub fn zero(&self) -> Value {
        match self {
            Self::String | Self::Bytes => "".into(),
            Self::Bool => false.into(),
            Self::Int32 | Self::Int64 | Self::IntOrString | Self::Double => 0.into(),
            Self::Quantity => "0".into(),
            Self::Time | Self::MicroTime | Self::Any => Value::Null,
            Self::Object(_) | Self::Map(_) => Value::Object(serde_json::Map::new()),
            Self::List(_) => Value::Array(Vec::new()),
        }
    }
}
