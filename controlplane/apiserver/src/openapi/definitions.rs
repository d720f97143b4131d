//! The schemas: facts from the table of types, prose from `k8s-openapi`.

use super::Served;
use super::descriptions::Descriptions;
use super::paths;
use coracle_proto::schema::{self, Field, ListKind, Shape, Type};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    V2,
    V3,
}

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";
/// What every document has beside the kinds of its rows.
const ALWAYS: [&str; 4] = ["APIResourceList", "DeleteOptions", "Status", "WatchEvent"];

impl Dialect {
    pub fn reference(self, name: &str) -> Value {
        match self {
            Self::V2 => json!({ "$ref": format!("#/definitions/{name}") }),
            Self::V3 => json!({ "$ref": format!("#/components/schemas/{name}") }),
        }
    }

    /// A reference with room for neighbours such as a description, which v3 does not allow beside `$ref`.
    fn open_reference(self, name: &str) -> Value {
        match self {
            Self::V2 => self.reference(name),
            Self::V3 => json!({ "allOf": [self.reference(name)] }),
        }
    }
}

/// The definitions that `rows` need, of which `everything` tells the group versions there are.
pub(super) fn all(rows: &[Served], everything: &[Served], dialect: Dialect) -> Value {
    let descriptions = Descriptions::gather();
    let versions: BTreeSet<(&str, &str)> =
        everything.iter().map(|r| (r.resource.group.as_ref(), r.resource.version.as_ref())).collect();
    let mut builder = Builder { dialect, descriptions, versions, done: BTreeMap::new() };
    for row in rows {
        for ty in paths::types(row) {
            builder.add(ty);
        }
    }
    for name in ALWAYS {
        builder.add(schema::named(&format!("{META}{name}")).expect("apimachinery's types are in the table"));
    }
    builder.add_special(&format!("{META}Patch"));
    Value::Object(builder.done.into_iter().collect())
}

struct Builder<'a> {
    dialect: Dialect,
    descriptions: Descriptions,
    versions: BTreeSet<(&'a str, &'a str)>,
    done: BTreeMap<String, Value>,
}

impl Builder<'_> {
    /// Adds a type and all that it refers to.
    fn add(&mut self, ty: &Type) {
        if self.done.contains_key(ty.name.as_ref()) {
            return;
        }
        // Holds the place of a type that refers to itself.
        self.done.insert(ty.name.to_string(), Value::Null);
        let mut properties = Map::new();
        for field in &ty.fields {
            properties.insert(field.name.to_string(), self.property(ty, field));
        }
        let mut definition = json!({ "type": "object" });
        if let Some(text) = self.descriptions.of_type(&ty.name) {
            definition["description"] = text.into();
        } else if let Some(kind) = ty.short_name().strip_suffix("List") {
            definition["description"] = format!("{kind}List is a list of {kind}.").into();
        }
        if !properties.is_empty() {
            definition["properties"] = properties.into();
        }
        let required: Vec<&str> = ty.fields.iter().filter(|f| f.required).map(|f| f.name.as_ref()).collect();
        if !required.is_empty() {
            definition["required"] = required.into();
        }
        let kinds = self.kinds(ty);
        if !kinds.is_empty() {
            definition["x-kubernetes-group-version-kind"] = kinds.into();
        }
        if ty.atomic {
            definition["x-kubernetes-map-type"] = "atomic".into();
        }
        self.done.insert(ty.name.to_string(), definition);
    }

    fn kinds(&self, ty: &Type) -> Vec<Value> {
        let mut kinds = Vec::new();
        for known in &ty.kinds {
            let all: Vec<(&str, &str)> = match known.version.as_ref() {
                "*" => self.versions.iter().copied().collect(),
                version => vec![(known.group.as_ref(), version)],
            };
            let entry = |(group, version)| json!({ "group": group, "kind": known.kind, "version": version });
            kinds.extend(all.into_iter().map(entry));
        }
        kinds
    }

    fn property(&mut self, ty: &Type, field: &Field) -> Value {
        let free_form = self.descriptions.target(&ty.name, &field.name).map(str::to_owned);
        let mut schema = self.shape(&field.shape, free_form.as_deref());
        if let Some(text) = self.descriptions.of_field(&ty.name, &field.name) {
            schema["description"] = text.into();
        }
        if matches!(field.shape, Shape::List(_)) {
            describe_list(field, &mut schema);
        }
        if field.atomic {
            schema["x-kubernetes-map-type"] = "atomic".into();
        }
        describe_patch(field, &mut schema);
        schema
    }

    fn shape(&mut self, shape: &Shape, free_form: Option<&str>) -> Value {
        let named = |builder: &mut Self, name: &str| {
            builder.add_special(name);
            builder.dialect.open_reference(name)
        };
        match shape {
            Shape::String => json!({ "type": "string" }),
            Shape::Bool => json!({ "type": "boolean" }),
            Shape::Int32 => json!({ "type": "integer", "format": "int32" }),
            Shape::Int64 => json!({ "type": "integer", "format": "int64" }),
            Shape::Double => json!({ "type": "number", "format": "double" }),
            Shape::Bytes => json!({ "type": "string", "format": "byte" }),
            Shape::Quantity => named(self, "io.k8s.apimachinery.pkg.api.resource.Quantity"),
            Shape::IntOrString => named(self, "io.k8s.apimachinery.pkg.util.intstr.IntOrString"),
            Shape::Time => named(self, &format!("{META}Time")),
            Shape::MicroTime => named(self, &format!("{META}MicroTime")),
            Shape::Any => named(self, free_form.unwrap_or("io.k8s.apimachinery.pkg.runtime.RawExtension")),
            Shape::Object(ty) => {
                let ty = ty.get();
                self.add(ty);
                self.dialect.open_reference(&ty.name)
            }
            Shape::List(item) => json!({ "type": "array", "items": self.shape(item, free_form) }),
            Shape::Map(item) => json!({ "type": "object", "additionalProperties": self.shape(item, free_form) }),
        }
    }

    /// Adds a definition that is no struct.
    fn add_special(&mut self, name: &str) {
        if self.done.contains_key(name) {
            return;
        }
        let mut definition = special(name, self.dialect);
        if let Some(text) = self.descriptions.of_type(name) {
            definition["description"] = text.into();
        }
        self.done.insert(name.to_owned(), definition);
    }
}

fn special(name: &str, dialect: Dialect) -> Value {
    match (name.rsplit('.').next().unwrap_or(name), dialect) {
        ("Quantity", Dialect::V2) => json!({ "type": "string" }),
        ("Quantity", Dialect::V3) => json!({ "oneOf": [{ "type": "string" }, { "type": "number" }] }),
        ("IntOrString", Dialect::V2) => json!({ "type": "string", "format": "int-or-string" }),
        ("IntOrString", Dialect::V3) => {
            json!({ "format": "int-or-string", "oneOf": [{ "type": "integer" }, { "type": "string" }] })
        }
        ("Time" | "MicroTime", _) => json!({ "type": "string", "format": "date-time" }),
        ("JSON", _) => json!({}),
        _ => json!({ "type": "object" }),
    }
}

fn describe_list(field: &Field, schema: &mut Value) {
    let (kind, keys) = match &field.list {
        ListKind::Atomic => ("atomic", None),
        ListKind::Set => ("set", None),
        ListKind::Map(keys) => ("map", Some(keys)),
    };
    schema["x-kubernetes-list-type"] = kind.into();
    if let Some(keys) = keys {
        schema["x-kubernetes-list-map-keys"] = json!(keys);
    }
}

fn describe_patch(field: &Field, schema: &mut Value) {
    let patch = &field.patch;
    let names = [(patch.merge, "merge"), (patch.replace, "replace"), (patch.retain_keys, "retainKeys")];
    let strategy: Vec<&str> = names.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect();
    if !strategy.is_empty() {
        schema["x-kubernetes-patch-strategy"] = strategy.join(",").into();
    }
    if let Some(key) = &patch.merge_key {
        schema["x-kubernetes-patch-merge-key"] = json!(key);
    }
}
