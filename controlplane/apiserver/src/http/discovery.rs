//! What is served: groups, versions, resources; one by one and aggregated.

use crate::catalog::{CATALOG, GROUPS, REVIEWS};
use crate::resources::{Facts, Subresource, VERBS};
use coracle_proto::status::Reason;
use coracle_proto::{ApiError, Tree};
use serde_json::{Value, json};

/// `/api`
pub fn core_versions(host: &str) -> Tree {
    json!({
        "kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}],
    })
}

fn group_of(name: &str, version: &str) -> Tree {
    let version = json!({"groupVersion": format!("{name}/{version}"), "version": version});
    json!({"name": name, "versions": [version], "preferredVersion": version})
}

/// `/apis`
pub fn groups() -> Tree {
    let named = GROUPS.iter().filter(|(name, _)| !name.is_empty());
    let groups: Vec<Tree> = named.map(|(name, version)| group_of(name, version)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/apps`
pub fn group(name: &str) -> Result<Tree, ApiError> {
    let (name, version) = GROUPS.iter().find(|(found, _)| *found == name && !name.is_empty()).ok_or_else(not_found)?;
    let mut group = group_of(name, version);
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    Ok(group)
}

pub fn not_found() -> ApiError {
    ApiError::new(Reason::NotFound, "the server could not find the requested resource")
}

/// `/api/v1`, `/apis/apps/v1`
pub fn resources(group: &str, version: &str) -> Result<Tree, ApiError> {
    if !GROUPS.contains(&(group, version)) {
        return Err(not_found());
    }
    let mut list = Vec::new();
    for facts in types(group) {
        list.push(entry(facts));
        list.extend(facts.subresources.iter().map(|sub| sub_entry(facts, sub)));
    }
    for review in REVIEWS.iter().filter(|r| r.resource.group == group) {
        list.push(json!({
            "name": review.resource.plural, "singularName": review.singular, "namespaced": false,
            "kind": review.resource.kind, "verbs": ["create"],
        }));
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Ok(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list}))
}

fn types(group: &str) -> impl Iterator<Item = &'static Facts> {
    CATALOG.into_iter().map(|kind| kind.facts()).filter(move |facts| facts.resource.group == group)
}

fn entry(facts: &Facts) -> Tree {
    let resource = &facts.resource;
    let mut entry = json!({
        "name": resource.plural, "singularName": facts.singular, "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": VERBS,
    });
    if !facts.short_names.is_empty() {
        entry["shortNames"] = json!(facts.short_names);
    }
    if !facts.categories.is_empty() {
        entry["categories"] = json!(facts.categories);
    }
    entry
}

fn sub_entry(facts: &Facts, sub: &Subresource) -> Tree {
    let resource = &facts.resource;
    let kind = if sub.kind.is_empty() { resource.kind.as_ref() } else { sub.kind };
    let mut entry = json!({
        "name": format!("{}/{}", resource.plural, sub.name), "singularName": "", "namespaced": resource.namespaced,
        "kind": kind, "verbs": sub.verbs,
    });
    if !sub.group.is_empty() {
        entry["group"] = sub.group.into();
        entry["version"] = sub.version.into();
    }
    entry
}

/// All of `/api` or of `/apis` in one answer. `form` is the version of `apidiscovery.k8s.io`.
pub fn aggregated(core: bool, form: &str) -> Tree {
    let groups = GROUPS.iter().filter(|(name, _)| name.is_empty() == core);
    let items: Vec<Tree> = groups
        .map(|(group, version)| {
            let resources = types(group).map(|facts| aggregated_entry(facts, version)).chain(reviews(group));
            let metadata = if group.is_empty() {
                json!({"creationTimestamp": null})
            } else {
                json!({"name": group, "creationTimestamp": null})
            };
            json!({
                "metadata": metadata,
                "versions": [{"version": version, "resources": resources.collect::<Vec<_>>(), "freshness": "Current"}],
            })
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{form}"), "metadata": {},
        "items": items,
    })
}

fn kind_of(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}

fn aggregated_entry(facts: &Facts, version: &str) -> Tree {
    let resource = &facts.resource;
    let subresources = facts.subresources.iter().map(|sub| {
        let (group, version) =
            if sub.group.is_empty() { (resource.group.as_ref(), version) } else { (sub.group, sub.version) };
        let kind = if sub.kind.is_empty() { resource.kind.as_ref() } else { sub.kind };
        json!({"subresource": sub.name, "responseKind": kind_of(group, version, kind), "verbs": sub.verbs})
    });
    let mut entry = json!({
        "resource": resource.plural, "responseKind": kind_of(&resource.group, version, &resource.kind),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": facts.singular, "verbs": VERBS,
    });
    if !facts.short_names.is_empty() {
        entry["shortNames"] = json!(facts.short_names);
    }
    if !facts.categories.is_empty() {
        entry["categories"] = json!(facts.categories);
    }
    if !facts.subresources.is_empty() {
        entry["subresources"] = subresources.collect();
    }
    entry
}

fn reviews(group: &'static str) -> impl Iterator<Item = Tree> {
    REVIEWS.iter().filter(move |r| r.resource.group == group).map(|review| {
        json!({
            "resource": review.resource.plural,
            "responseKind": kind_of(&review.resource.group, &review.resource.version, &review.resource.kind),
            "scope": "Cluster", "singularResource": review.singular, "verbs": ["create"],
        })
    })
}
