//! The paths under which the rows are served, with their operations.

use super::Served;
use super::definitions::Dialect;
use super::operations::Operation;
use super::parameters;
use coracle_proto::Resource;
use coracle_proto::schema::{self, GroupVersionKind, Type};
use serde_json::{Map, Value};

/// `api/v1`, `apis/apps/v1`.
pub(super) fn group_version(resource: &Resource) -> String {
    match resource.group.as_ref() {
        "" => format!("api/{}", resource.version),
        group => format!("apis/{group}/{}", resource.version),
    }
}

/// The types that a row's operations send and answer.
pub(super) fn types(row: &Served) -> Vec<&'static Type> {
    let mut types: Vec<_> = [own_type(&row.resource), list_type(&row.resource)].into_iter().flatten().collect();
    types.extend(row.subresources.iter().filter_map(|sub| schema::of_kind(&sub.group, &sub.version, &sub.kind)));
    types
}

fn own_type(resource: &Resource) -> Option<&'static Type> {
    schema::of_kind(&resource.group, &resource.version, &resource.kind)
}

fn list_type(resource: &Resource) -> Option<&'static Type> {
    schema::of_kind(&resource.group, &resource.version, &format!("{}List", resource.kind))
}

pub(super) fn all(rows: &[Served], dialect: Dialect) -> Value {
    let mut paths = Map::new();
    for row in rows {
        add_row(row, dialect, &mut paths);
    }
    Value::Object(paths)
}

const COLLECTION_VERBS: [&str; 3] = ["list", "create", "deletecollection"];
const ITEM_VERBS: [&str; 4] = ["get", "update", "patch", "delete"];

fn add_row(row: &Served, dialect: Dialect, paths: &mut Map<String, Value>) {
    let resource = &row.resource;
    let root = format!("/{}", group_version(resource));
    let plural = &resource.plural;
    let collection = match resource.namespaced {
        true => format!("{root}/namespaces/{{namespace}}/{plural}"),
        false => format!("{root}/{plural}"),
    };
    let operation = |verb, across| Operation {
        resource,
        verb,
        subresource: "",
        across,
        kind: kind_of(resource),
        object: own_type(resource),
        list: list_type(resource),
    };
    let served = |verbs: &[&'static str]| {
        let listed = verbs.iter().copied().filter(|v| row.verbs.iter().any(|served| served == v));
        listed.map(|verb| operation(verb, false)).collect::<Vec<_>>()
    };
    add_path(paths, collection.clone(), &served(&COLLECTION_VERBS), dialect);
    let item = format!("{collection}/{{name}}");
    add_path(paths, item.clone(), &served(&ITEM_VERBS), dialect);
    if resource.namespaced && row.verbs.iter().any(|v| v == "list") {
        add_path(paths, format!("{root}/{plural}"), &[operation("list", true)], dialect);
    }
    for sub in &row.subresources {
        let own = sub.kind.is_empty();
        let kind = match own {
            true => kind_of(resource),
            false => {
                GroupVersionKind { group: sub.group.clone(), version: sub.version.clone(), kind: sub.kind.clone() }
            }
        };
        let object = schema::of_kind(&kind.group, &kind.version, &kind.kind);
        let operations: Vec<Operation<'_>> = sub
            .verbs
            .iter()
            .map(|verb| Operation {
                verb,
                subresource: &sub.name,
                kind: kind.clone(),
                // Logs and streams answer with text.
                object: if STREAMS.contains(&sub.name.as_ref()) { None } else { object },
                ..operation("", false)
            })
            .collect();
        add_path(paths, format!("{item}/{}", sub.name), &operations, dialect);
    }
}

const STREAMS: [&str; 5] = ["log", "exec", "attach", "portforward", "proxy"];

fn kind_of(resource: &Resource) -> GroupVersionKind {
    GroupVersionKind { group: resource.group.clone(), version: resource.version.clone(), kind: resource.kind.clone() }
}

fn add_path(paths: &mut Map<String, Value>, path: String, operations: &[Operation<'_>], dialect: Dialect) {
    let mut item: Map<String, Value> = Map::new();
    for operation in operations {
        if let Some((method, rendered)) = operation.render(dialect) {
            item.insert(method.into(), rendered);
        }
    }
    let Some(operation) = operations.first().filter(|_| !item.is_empty()) else { return };
    let mut shared = Vec::new();
    if path.contains("{name}") {
        let text = format!("name of the {}", operation.resource.kind);
        shared.push(parameters::path("name", &text, dialect));
    }
    if path.contains("{namespace}") {
        let text = "object name and auth scope, such as for teams and projects";
        shared.push(parameters::path("namespace", text, dialect));
    }
    shared.push(parameters::query(&parameters::PRETTY, dialect));
    item.insert("parameters".into(), shared.into());
    paths.insert(path, item.into());
}
