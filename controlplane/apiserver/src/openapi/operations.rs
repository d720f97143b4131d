//! What can be done at a path, per verb.

use super::definitions::Dialect;
use super::parameters::{self, Parameter};
use coracle_proto::Resource;
use coracle_proto::schema::{GroupVersionKind, Type};
use serde_json::{Map, Value, json};

const PRODUCES: [&str; 2] = ["application/json", "application/yaml"];
const PATCH_TYPES: [&str; 3] =
    ["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"];
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";

/// One verb of discovery at one path.
pub(super) struct Operation<'a> {
    pub resource: &'a Resource,
    pub verb: &'a str,
    /// Empty, or `Status`, `Scale`, …
    pub subresource: &'a str,
    /// The path that lists over all namespaces.
    pub across: bool,
    pub kind: GroupVersionKind,
    /// What is sent and answered; `None` where a stream is opened or text comes back.
    pub object: Option<&'static Type>,
    pub list: Option<&'static Type>,
}

/// How a verb looks on the wire.
struct Form {
    method: &'static str,
    action: &'static str,
    parameters: &'static [Parameter],
    codes: &'static [(&'static str, &'static str)],
}

const OK: (&str, &str) = ("200", "OK");
const CREATED: (&str, &str) = ("201", "Created");
const ACCEPTED: (&str, &str) = ("202", "Accepted");

fn form(verb: &str) -> Option<Form> {
    let (method, action, parameters, codes): (_, _, &'static [Parameter], &'static [_]) = match verb {
        "get" => ("get", "get", &[], &[OK]),
        "list" => ("get", "list", &parameters::LIST, &[OK]),
        "create" => ("post", "post", &parameters::WRITE, &[OK, CREATED, ACCEPTED]),
        "update" => ("put", "put", &parameters::WRITE, &[OK, CREATED]),
        "patch" => ("patch", "patch", &parameters::PATCH, &[OK, CREATED]),
        "delete" => ("delete", "delete", &parameters::DELETE, &[OK, ACCEPTED]),
        "deletecollection" => ("delete", "deletecollection", &parameters::DELETE_COLLECTION, &[OK]),
        // `watch` is a parameter of list.
        _ => return None,
    };
    Some(Form { method, action, parameters, codes })
}

impl Operation<'_> {
    /// The HTTP method and the operation; `None` for a verb without a form of its own.
    pub fn render(&self, dialect: Dialect) -> Option<(&'static str, Value)> {
        let form = form(self.verb)?;
        let mut operation = Map::new();
        operation.insert("operationId".into(), self.id().into());
        operation.insert("description".into(), self.description().into());
        operation.insert("tags".into(), json!([self.tag()]));
        operation.insert("x-kubernetes-action".into(), form.action.into());
        let GroupVersionKind { group, version, kind } = &self.kind;
        let kind = json!({ "group": group, "version": version, "kind": kind });
        operation.insert("x-kubernetes-group-version-kind".into(), kind);
        let mut query: Vec<Value> = form.parameters.iter().map(|p| parameters::query(p, dialect)).collect();
        if let Some((content_types, schema, required)) = self.body(dialect) {
            match dialect {
                Dialect::V2 => {
                    let body = json!({ "name": "body", "in": "body", "required": required, "schema": schema });
                    query.insert(0, body);
                    operation.insert("consumes".into(), json!(content_types));
                }
                Dialect::V3 => {
                    let content = media(&content_types, &schema);
                    operation.insert("requestBody".into(), json!({ "required": required, "content": content }));
                }
            }
        }
        if dialect == Dialect::V2 {
            operation.insert("produces".into(), json!(PRODUCES));
            operation.insert("schemes".into(), json!(["https"]));
        }
        if !query.is_empty() {
            operation.insert("parameters".into(), query.into());
        }
        operation.insert("responses".into(), self.responses(&form, dialect));
        Some((form.method, Value::Object(operation)))
    }

    fn body(&self, dialect: Dialect) -> Option<(Vec<&'static str>, Value, bool)> {
        match self.verb {
            "create" | "update" => Some((vec!["*/*"], dialect.reference(&self.object?.name), true)),
            "patch" => Some((PATCH_TYPES.to_vec(), dialect.reference(&format!("{META}Patch")), true)),
            "delete" | "deletecollection" => {
                Some((vec!["*/*"], dialect.reference(&format!("{META}DeleteOptions")), false))
            }
            _ => None,
        }
    }

    fn responses(&self, form: &Form, dialect: Dialect) -> Value {
        let schema = match self.verb {
            "list" => self.list.map(|ty| dialect.reference(&ty.name)),
            "delete" | "deletecollection" => Some(dialect.reference(&format!("{META}Status"))),
            _ => self.object.map(|ty| dialect.reference(&ty.name)),
        };
        let schema = schema.unwrap_or_else(|| json!({ "type": "string" }));
        let mut responses = Map::new();
        for (code, description) in form.codes {
            let response = match dialect {
                Dialect::V2 => json!({ "description": description, "schema": schema }),
                Dialect::V3 => json!({ "description": description, "content": media(&PRODUCES, &schema) }),
            };
            responses.insert((*code).into(), response);
        }
        responses.insert("401".into(), json!({ "description": "Unauthorized" }));
        responses.into()
    }

    /// e.g. `listCoreV1NamespacedPod`.
    fn id(&self) -> String {
        let verb = match self.verb {
            "get" => "read",
            "update" => "replace",
            "deletecollection" => "delete",
            verb => verb,
        };
        let Resource { group, version, kind, namespaced, .. } = self.resource;
        let group = group_words(group).iter().map(|w| capital(w)).collect::<String>();
        let many = if self.verb == "deletecollection" { "Collection" } else { "" };
        let scope = if *namespaced && !self.across { "Namespaced" } else { "" };
        let across = if self.across { "ForAllNamespaces" } else { "" };
        format!("{verb}{group}{}{many}{scope}{kind}{}{across}", capital(version), capital(self.subresource))
    }

    fn description(&self) -> String {
        let kind = &self.resource.kind;
        let what = match self.verb {
            "list" => return format!("list or watch objects of kind {kind}"),
            "create" if self.subresource.is_empty() => return format!("create a {kind}"),
            "delete" => return format!("delete a {kind}"),
            "deletecollection" => return format!("delete collection of {kind}"),
            "get" => "read",
            "update" => "replace",
            "patch" => "partially update",
            verb => verb,
        };
        match self.subresource {
            "" => format!("{what} the specified {kind}"),
            part => format!("{what} {part} of the specified {kind}"),
        }
    }

    /// e.g. `core_v1`, `rbacAuthorization_v1`.
    fn tag(&self) -> String {
        let words = group_words(&self.resource.group);
        let (first, rest) = words.split_first().expect("a split gives at least one part");
        let rest: String = rest.iter().map(|w| capital(w)).collect();
        format!("{first}{rest}_{}", self.resource.version)
    }
}

fn group_words(group: &str) -> Vec<&str> {
    match group {
        "" => vec!["core"],
        group => group.strip_suffix(".k8s.io").unwrap_or(group).split('.').collect(),
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn media(content_types: &[&str], schema: &Value) -> Value {
    content_types.iter().map(|t| ((*t).to_owned(), json!({ "schema": schema }))).collect::<Map<_, _>>().into()
}
