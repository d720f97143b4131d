//! What kubectl looks for in the documents, and that every reference in them is there.

use super::*;
use coracle_proto::resource;

fn rows() -> Vec<Served> {
    let verbs = |list: &[&'static str]| list.iter().map(|v| Cow::Borrowed(*v)).collect::<Vec<_>>();
    let all = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    let sub = |name: &'static str, gvk: [&'static str; 3], list: &[&'static str]| ServedSubresource {
        name: name.into(),
        group: gvk[0].into(),
        version: gvk[1].into(),
        kind: gvk[2].into(),
        verbs: verbs(list),
    };
    let write = ["get", "patch", "update"];
    let row = |resource: Resource, subresources| Served { resource, verbs: verbs(&all), subresources };
    vec![
        row(
            resource::PODS,
            vec![
                sub("status", ["", "", ""], &write),
                sub("log", ["", "", ""], &["get"]),
                sub("binding", ["", "v1", "Binding"], &["create"]),
                sub("eviction", ["policy", "v1", "Eviction"], &["create"]),
                sub("exec", ["", "v1", "PodExecOptions"], &["create", "get"]),
            ],
        ),
        row(resource::NAMESPACES, vec![]),
        row(resource::NODES, vec![]),
        row(resource::SERVICES, vec![]),
        row(
            resource::DEPLOYMENTS,
            vec![sub("scale", ["autoscaling", "v1", "Scale"], &write), sub("status", ["", "", ""], &write)],
        ),
        row(resource::LEASES, vec![]),
        row(resource::ENDPOINT_SLICES, vec![]),
        Served {
            resource: Resource::builtin("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", false),
            verbs: verbs(&["create"]),
            subresources: vec![],
        },
    ]
}

/// Every `$ref` in a document.
fn references(tree: &Value, found: &mut BTreeSet<String>) {
    match tree {
        Value::Object(entries) => entries.iter().for_each(|(key, value)| match value {
            Value::String(target) if key == "$ref" => drop(found.insert(target.clone())),
            _ => references(value, found),
        }),
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

fn parse(bytes: &Bytes) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

#[test]
fn every_reference_is_defined() {
    let documents = Documents::new(&rows());
    let v2 = parse(&documents.v2_json());
    let mut all = vec![("v2".to_owned(), v2)];
    for path in documents.v3_index()["paths"].as_object().expect("an object").keys() {
        all.push((path.clone(), parse(&documents.v3(path).expect("in the index"))));
    }
    assert_eq!(all.len(), 1 + 5);
    for (what, document) in all {
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 10, "{what}");
        for target in found {
            let pointer = target.strip_prefix('#').expect("local");
            assert!(document.pointer(pointer).is_some_and(Value::is_object), "{what}: {target}");
        }
    }
}

#[test]
fn a_patch_operation_lists_what_kubectl_asks_for() {
    let documents = Documents::new(&rows());
    let v2 = parse(&documents.v2_json());
    let v3 = parse(&documents.v3("apis/apps/v1").expect("served"));
    for document in [v2, v3] {
        let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        assert_eq!(
            patch["x-kubernetes-group-version-kind"],
            json!({"group": "apps", "version": "v1", "kind": "Deployment"})
        );
        let names: Vec<&str> =
            patch["parameters"].as_array().expect("a list").iter().filter_map(|p| p["name"].as_str()).collect();
        assert!(names.contains(&"fieldValidation") && names.contains(&"dryRun"), "{names:?}");
        assert_eq!(patch["operationId"], "patchAppsV1NamespacedDeployment");
        assert_eq!(patch["tags"], json!(["apps_v1"]));
    }
}

#[test]
fn definitions_carry_facts_and_prose() {
    let v2 = parse(&Documents::new(&rows()).v2_json());
    let definitions = &v2["definitions"];
    let pod = &definitions["io.k8s.api.core.v1.Pod"];
    assert_eq!(pod["x-kubernetes-group-version-kind"], json!([{"group": "", "kind": "Pod", "version": "v1"}]));
    assert_eq!(pod.get("required"), None, "metadata is not required upstream");
    let containers = &definitions["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    assert_eq!(containers["items"]["$ref"], "#/definitions/io.k8s.api.core.v1.Container");
    assert!(containers["description"].as_str().is_some_and(|d| d.starts_with("List of containers")));
    let managed = &definitions["io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry"]["properties"]["fieldsV1"];
    assert_eq!(managed["$ref"], "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1");
    assert_eq!(definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["format"], "int-or-string");
}

/// Every type in the documents has upstream's prose, but those which are generic in `k8s-openapi`.
#[test]
fn nothing_served_lacks_a_description() {
    let v2 = parse(&Documents::new(&rows()).v2_json());
    for (name, definition) in v2["definitions"].as_object().expect("an object") {
        assert!(definition["description"].is_string(), "{name}");
        let is_generic = name.ends_with("List") || name.ends_with("WatchEvent");
        for (field, schema) in definition["properties"].as_object().into_iter().flatten() {
            assert!(is_generic || schema["description"].is_string(), "{name}.{field}");
        }
    }
}

#[test]
fn paths_follow_scope_and_verbs() {
    let v2 = parse(&Documents::new(&rows()).v2_json());
    let methods = |path: &str| {
        let item = v2["paths"][path].as_object().unwrap_or_else(|| panic!("{path}"));
        item.keys().filter(|k| *k != "parameters").cloned().collect::<Vec<_>>()
    };
    let table: [(&str, &[&str]); 9] = [
        ("/api/v1/namespaces", &["delete", "get", "post"]),
        ("/api/v1/namespaces/{name}", &["delete", "get", "patch", "put"]),
        ("/api/v1/namespaces/{namespace}/pods", &["delete", "get", "post"]),
        ("/api/v1/pods", &["get"]),
        ("/api/v1/namespaces/{namespace}/pods/{name}/log", &["get"]),
        ("/api/v1/namespaces/{namespace}/pods/{name}/binding", &["post"]),
        ("/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale", &["get", "patch", "put"]),
        ("/apis/authentication.k8s.io/v1/tokenreviews", &["post"]),
        ("/apis/discovery.k8s.io/v1/endpointslices", &["get"]),
    ];
    for (path, expected) in table {
        assert_eq!(methods(path), expected, "{path}");
    }
    let scale = &v2["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["put"];
    assert_eq!(scale["responses"]["200"]["schema"]["$ref"], "#/definitions/io.k8s.api.autoscaling.v1.Scale");
    assert_eq!(scale["x-kubernetes-group-version-kind"]["kind"], "Scale");
}

/// gnostic's messages, as far as the test looks.
mod pb {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Document {
        #[prost(string, tag = "1")]
        pub swagger: String,
        #[prost(message, optional, tag = "8")]
        pub paths: Option<Paths>,
        #[prost(message, optional, tag = "9")]
        pub definitions: Option<Schemas>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Paths {
        #[prost(btree_map = "string, message", tag = "2")]
        pub path: std::collections::BTreeMap<String, PathItem>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct PathItem {
        #[prost(message, optional, tag = "8")]
        pub patch: Option<Operation>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Operation {
        #[prost(message, repeated, tag = "8")]
        pub parameters: Vec<ParametersItem>,
        #[prost(btree_map = "string, message", tag = "13")]
        pub vendor_extension: std::collections::BTreeMap<String, Any>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ParametersItem {
        #[prost(message, optional, tag = "1")]
        pub parameter: Option<Parameter>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Parameter {
        #[prost(message, optional, tag = "2")]
        pub non_body: Option<NonBody>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct NonBody {
        #[prost(message, optional, tag = "3")]
        pub query: Option<Query>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Query {
        #[prost(string, tag = "4")]
        pub name: String,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Any {
        #[prost(string, tag = "2")]
        pub yaml: String,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Schemas {
        #[prost(btree_map = "string, message", tag = "1")]
        pub all: std::collections::BTreeMap<String, Schema>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Schema {
        #[prost(string, tag = "1")]
        pub reference: String,
        #[prost(message, optional, tag = "25")]
        pub properties: Option<Schemas>,
        #[prost(btree_map = "string, message", tag = "31")]
        pub vendor_extension: std::collections::BTreeMap<String, Any>,
    }
}

#[test]
fn the_protobuf_form_says_the_same() {
    use prost::Message;
    let documents = Documents::new(&rows());
    let v2 = parse(&documents.v2_json());
    let decoded = pb::Document::decode(documents.v2_protobuf()).expect("protobuf");
    assert_eq!(decoded.swagger, "2.0");
    let definitions = decoded.definitions.expect("there").all;
    assert!(definitions.keys().eq(v2["definitions"].as_object().expect("an object").keys()));
    let spec = definitions["io.k8s.api.core.v1.PodSpec"].properties.as_ref().expect("there");
    assert_eq!(spec.all["containers"].vendor_extension["x-kubernetes-patch-merge-key"].yaml, r#""name""#);
    let paths = decoded.paths.expect("there").path;
    assert!(paths.keys().eq(v2["paths"].as_object().expect("an object").keys()));
    let patch = paths["/api/v1/namespaces/{namespace}/pods/{name}"].patch.as_ref().expect("there");
    assert_eq!(
        patch.vendor_extension["x-kubernetes-group-version-kind"].yaml,
        r#"{"group":"","kind":"Pod","version":"v1"}"#
    );
    let names: Vec<_> = patch
        .parameters
        .iter()
        .filter_map(|p| p.parameter.as_ref()?.non_body.as_ref()?.query.as_ref())
        .map(|q| q.name.as_str())
        .collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
}

#[test]
fn the_hash_follows_the_rows() {
    let all = Documents::new(&rows());
    let fewer = Documents::new(&rows()[..2]);
    assert_ne!(all.hash(), fewer.hash());
    assert_eq!(all.hash(), Documents::new(&rows()).hash());
    assert_eq!(fewer.v3("apis/apps/v1"), None);
    let url = &all.v3_index()["paths"]["apis/apps/v1"]["serverRelativeURL"];
    assert_eq!(url, &json!(format!("/openapi/v3/apis/apps/v1?hash={}", all.hash())));
}
