//! Tables of documents and what upstream says to them.

use super::*;
use crate::schema::of_kind;
use crate::schema::sample::{Sampler, rounds};
use serde_json::json;

fn ty(kind: &str) -> &'static Type {
    let (group, version) = match kind {
        "Deployment" | "ReplicaSet" => ("apps", "v1"),
        "Lease" => ("coordination.k8s.io", "v1"),
        "CustomResourceDefinition" => ("apiextensions.k8s.io", "v1"),
        "ControllerRevision" => ("apps", "v1"),
        _ => ("", "v1"),
    };
    of_kind(group, version, kind).expect(kind)
}

fn strict(kind: &str, text: &str) -> Result<Value, String> {
    json(text.as_bytes(), ty(kind), FieldValidation::Strict).map(|d| d.tree).map_err(|e| e.to_string())
}

#[test]
fn wrong_values_get_upstreams_message() {
    let table = [
        (
            "Deployment",
            r#"{"spec":{"replicas":"three"}}"#,
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "Deployment",
            r#"{"spec":{"template":{"spec":{"containers":[{"ports":[{"containerPort":"80"}]}]}}}}"#,
            "json: cannot unmarshal string into Go struct field ContainerPort.spec.template.spec.containers.ports.containerPort of type int32",
        ),
        (
            "Pod",
            r#"{"metadata":{"labels":{"a":1}}}"#,
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            "Pod",
            r#"{"spec":{"containers":{}}}"#,
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            "Pod",
            r#"{"spec":{"containers":["nginx"]}}"#,
            "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type v1.Container",
        ),
        ("Pod", r#"{"spec":[]}"#, "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec"),
        (
            "Deployment",
            r#"{"spec":{"replicas":3000000000}}"#,
            "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "Deployment",
            r#"{"spec":{"replicas":1.5}}"#,
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "Pod",
            r#"{"spec":{"hostNetwork":"true"}}"#,
            "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool",
        ),
        (
            "Pod",
            r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":"lots"}}}]}}"#,
            "spec.containers[0].resources.limits.cpu: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        ("Secret", r#"{"data":{"a":"!!"}}"#, "data.a: illegal base64 data at input byte 0"),
        ("Secret", r#"{"data":{"a":"LS0tLS1CRUdJTi..."}}"#, "data.a: illegal base64 data at input byte 14"),
        (
            "Pod",
            r#"{"metadata":{"deletionTimestamp":"yesterday"}}"#,
            r#"metadata.deletionTimestamp: parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": not an RFC 3339 time"#,
        ),
    ];
    for (kind, text, message) in table {
        assert_eq!(strict(kind, text), Err(message.to_owned()), "{text}");
    }
}

#[test]
fn the_api_error_is_upstreams() {
    let error = json(br#"{"spec":{"replicas":"3"}}"#, ty("Deployment"), FieldValidation::Ignore).unwrap_err();
    assert_eq!(
        error.to_api_error("Deployment", "v1", "Deployment").message,
        r#"Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"#
    );
    let error = json(br#"{"spec":{"foo":1}}"#, ty("Deployment"), FieldValidation::Strict).unwrap_err();
    assert_eq!(
        error.to_api_error("Deployment", "apps/v1", "Deployment").message,
        r#"Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.foo""#
    );
    let error = json(b"{", ty("Deployment"), FieldValidation::Strict).unwrap_err();
    let message = error.to_api_error("Deployment", "v1", "Deployment").message;
    assert!(message.starts_with("the object provided is unrecognized (must be of type Deployment): "), "{message}");
}

#[test]
fn unknown_and_doubled_fields_are_named() {
    let text = br#"{"spec":{"replicas":1,"foo":{"deep":[1,{"x":2}]},"replicas":2,"template":{"spec":{"containers":[
        {"name":"a"},{"name":"b","imagge":"x","imagge":"y"}]}}},"metadata":{"labels":{"a":"1","a":"2"}},"Kind":"x"}"#;
    let expected = [
        r#"unknown field "spec.foo""#,
        r#"duplicate field "spec.replicas""#,
        r#"unknown field "spec.template.spec.containers[1].imagge""#,
        r#"duplicate field "metadata.labels.a""#,
        r#"unknown field "Kind""#,
    ];
    let error = json(text, ty("Deployment"), FieldValidation::Strict).unwrap_err();
    assert_eq!(error.to_string(), format!("strict decoding error: {}", expected.join(", ")));

    let decoded = json(text, ty("Deployment"), FieldValidation::Warn).expect("only warnings");
    assert_eq!(decoded.warnings, expected);
    assert_eq!(decoded.tree["spec"]["replicas"], 2);
    assert_eq!(decoded.tree["spec"].get("foo"), None);
    assert_eq!(decoded.tree["metadata"]["labels"]["a"], "2");

    let decoded = json(text, ty("Deployment"), FieldValidation::Ignore).expect("nothing is checked");
    assert_eq!(decoded.warnings, [""; 0]);
}

#[test]
fn a_doubled_field_is_found_though_its_first_value_was_dropped() {
    let error = strict("Pod", r#"{"spec":{"hostNetwork":false,"hostNetwork":true}}"#).unwrap_err();
    assert_eq!(error, r#"strict decoding error: duplicate field "spec.hostNetwork""#);
    let decoded = json(br#"{"spec":{"hostNetwork":true,"hostNetwork":false}}"#, ty("Pod"), FieldValidation::Warn);
    assert_eq!(decoded.expect("a warning").tree, json!({"spec": {}}));
}

#[test]
fn strict_errors_are_bounded() {
    let fields: Vec<String> = (0..500).map(|i| format!(r#""f{i}":1"#)).collect();
    let decoded = json(format!("{{{}}}", fields.join(",")).as_bytes(), ty("Pod"), FieldValidation::Warn);
    assert_eq!(decoded.expect("warnings").warnings.len(), MAX_STRICT_ERRORS);
}

#[test]
fn the_tree_is_canonical() {
    let table = [
        (
            "Pod",
            json!({"metadata": {"creationTimestamp": null, "name": "a", "namespace": ""}}),
            json!({"metadata": {"name": "a"}}),
        ),
        ("Deployment", json!({"spec": {"replicas": 0, "paused": false}}), json!({"spec": {"replicas": 0}})),
        (
            "Pod",
            json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
            json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
        ),
        (
            "Pod",
            json!({"spec": {"volumes": [], "nodeSelector": {}, "containers": []}}),
            json!({"spec": {"containers": []}}),
        ),
        (
            "Pod",
            json!({"spec": {"containers": [{"name": "", "resources": {"limits": {"cpu": "1000m", "memory": 1024}}}]}}),
            json!({"spec": {"containers": [{"name": "", "resources": {"limits": {"cpu": "1", "memory": "1024"}}}]}}),
        ),
        (
            "Pod",
            json!({"spec": {"containers": [{"livenessProbe": {"httpGet": {"port": "http"}, "timeoutSeconds": 0}}]}}),
            json!({"spec": {"containers": [{"livenessProbe": {"httpGet": {"port": "http"}}}]}}),
        ),
        ("Pod", json!({"spec": {"containers": [null]}}), json!({"spec": {"containers": [{}]}})),
        ("ConfigMap", json!({"data": {"a": null, "b": ""}}), json!({"data": {"a": "", "b": ""}})),
        ("Secret", json!({"data": {"a": "AQ\n=="}}), json!({"data": {"a": "AQ=="}})),
        (
            "Lease",
            json!({"spec": {"renewTime": "2026-01-02T05:04:05.5+02:00", "leaseTransitions": 0}}),
            json!({"spec": {"renewTime": "2026-01-02T03:04:05.500000Z", "leaseTransitions": 0}}),
        ),
        (
            "Pod",
            json!({"status": {"startTime": "2026-01-02T05:04:05.9+02:00"}}),
            json!({"status": {"startTime": "2026-01-02T03:04:05Z"}}),
        ),
        (
            "ControllerRevision",
            json!({"data": {"x": null, "y": [1.5]}, "revision": 0}),
            json!({"data": {"x": null, "y": [1.5]}, "revision": 0}),
        ),
    ];
    for (kind, from, to) in table {
        assert_eq!(strict(kind, &from.to_string()), Ok(to.clone()), "{from}");
        assert_eq!(tree(from, ty(kind), FieldValidation::Strict).map(|d| d.tree), Ok(to));
    }
}

#[test]
fn yaml_is_read_as_json_is() {
    let text = b"apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels: &l {x: y}\n  annotations: *l\nspec:\n  containers:\n  - name: c\n    ports: [{containerPort: 80}]\n    foo: 1\n";
    let decoded = yaml(text, ty("Pod"), FieldValidation::Warn).expect("good but for a field");
    assert_eq!(decoded.warnings, [r#"unknown field "spec.containers[0].foo""#]);
    assert_eq!(decoded.tree["metadata"]["annotations"], json!({"x": "y"}));
    assert_eq!(decoded.tree["spec"]["containers"][0]["ports"][0]["containerPort"], 80);
    let wrong = yaml(b"spec: {replicas: three}", ty("Deployment"), FieldValidation::Warn).unwrap_err();
    assert!(matches!(wrong, DecodeError::Type(m) if m.contains("spec.replicas of type int32")));
    let doubled = yaml(b"spec: {replicas: 1, replicas: 2}", ty("Deployment"), FieldValidation::Strict).unwrap_err();
    assert_eq!(doubled, DecodeError::Strict(vec![r#"duplicate field "spec.replicas""#.into()]));
}

#[test]
fn hostile_documents_are_refused() {
    let deep_json = |n: usize| format!("{}{}", r#"{"a":"#.repeat(n), "[".repeat(n));
    let bomb = |field: &str| {
        let mut text = String::from("x0: &x0 [lollollollol]\n");
        for i in 1..12 {
            text += &format!("x{i}: &x{i} [{}]\n", vec![format!("*x{}", i - 1); 10].join(","));
        }
        text + &format!("{field}: *x11\n")
    };
    let wide = format!("a: &a [{}]\nb: [{}]\n", "x,".repeat(20_000), "*a,".repeat(20_000));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("deep unknown field", deep_json(10_000).into_bytes()),
        ("deep array", "[".repeat(10_000).into_bytes()),
        ("deep any", format!(r#"{{"data":{}}}"#, "[".repeat(10_000)).into_bytes()),
        ("truncated", br#"{"spec":{"#.to_vec()),
        ("trailing", b"{} {}".to_vec()),
        ("empty", b"".to_vec()),
        ("array", b"[]".to_vec()),
        ("not UTF-8", b"{\"a\":\"\xff\"}".to_vec()),
        ("cyclic", b"&a\ndata: *a\n".to_vec()),
        ("cyclic unknown", b"x: &a {y: *a}\n".to_vec()),
        ("bomb in an unknown field", bomb("foo").into_bytes()),
        ("bomb in a known field", bomb("data").into_bytes()),
        ("wide aliases", wide.into_bytes()),
        ("deep yaml", format!("data: {}{}", "[".repeat(10_000), "]".repeat(10_000)).into_bytes()),
        ("two documents", b"kind: a\n---\nkind: b\n".to_vec()),
    ];
    for (what, bytes) in cases {
        let ty = ty("ControllerRevision");
        let as_yaml = yaml(&bytes, ty, FieldValidation::Warn);
        assert!(matches!(as_yaml, Err(DecodeError::Syntax(_))) || what == "trailing", "{what}: {as_yaml:?}");
        let as_json = json(&bytes, ty, FieldValidation::Warn);
        assert!(matches!(as_json, Err(DecodeError::Syntax(_))), "{what}: {as_json:?}");
    }
}

#[test]
fn a_deep_tree_is_refused() {
    let deep = (0..1000).fold(json!(1), |inner, _| Value::Array(vec![inner]));
    let decoded = tree(
        Value::Object([("data".to_owned(), deep)].into_iter().collect()),
        ty("ControllerRevision"),
        FieldValidation::Warn,
    );
    assert_eq!(decoded, Err(DecodeError::Syntax("exceeded max depth".into())));
}

#[test]
fn damage_never_panics() {
    let seeds = [
        Sampler::new(1, 4).object(ty("Pod"), "v1", "Pod").to_string(),
        Sampler::new(2, 5).object(ty("Deployment"), "apps/v1", "Deployment").to_string(),
        "a: &a {b: [1, 2.5, null, ~, 'x', \"y\"], c: !!str z}\nmetadata: {labels: *a}\nspec: |\n  text\n".into(),
    ];
    let mut sampler = Sampler::new(7, 0);
    for round in 0..rounds(3000) {
        let mut bytes = seeds[round % seeds.len()].clone().into_bytes();
        if bytes.len() > 4000 {
            let from = sampler.below(bytes.len() - 2000);
            bytes.drain(200..from.max(200));
            bytes.truncate(4000);
        }
        for _ in 0..=sampler.below(4) {
            let at = sampler.below(bytes.len());
            match sampler.below(4) {
                0 => bytes[at] = sampler.next() as u8,
                1 => bytes.truncate(at + 1),
                2 => bytes.insert(at, b"{}[],:\"\\&*!|-0e"[sampler.below(15)]),
                _ => drop(bytes.remove(at)),
            }
            if bytes.is_empty() {
                bytes.push(b'{');
            }
        }
        for kind in ["Pod", "Deployment", "CustomResourceDefinition"] {
            let as_json = json(&bytes, ty(kind), FieldValidation::Warn);
            let as_yaml = yaml(&bytes, ty(kind), FieldValidation::Strict);
            for decoded in [as_json, as_yaml].into_iter().flatten() {
                let again = tree(decoded.tree.clone(), ty(kind), FieldValidation::Strict).expect("canonical");
                assert_eq!(again.tree, decoded.tree, "canonical form is stable");
            }
        }
    }
}

/// `k8s-openapi` reads our trees and writes them back with nothing lost: names and shapes agree.
fn agrees<T: serde::de::DeserializeOwned + serde::Serialize>(group: &str, kind: &str) {
    let ty = of_kind(group, "v1", kind).expect(kind);
    let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    let sampled = Sampler::new(21, 8).object(ty, &api_version, kind);
    let typed: T = serde_json::from_value(sampled.clone()).expect(kind);
    let written = serde_json::to_value(&typed).expect(kind);
    assert_eq!(tree(written, ty, FieldValidation::Strict).expect(kind).tree, sampled, "{kind}");
}

#[test]
fn typed_code_reads_canonical_trees() {
    use k8s_openapi::api::{apps, authentication, autoscaling, coordination, core, discovery, events, policy};
    agrees::<core::v1::Pod>("", "Pod");
    agrees::<core::v1::Namespace>("", "Namespace");
    agrees::<core::v1::Node>("", "Node");
    agrees::<core::v1::Service>("", "Service");
    agrees::<core::v1::Endpoints>("", "Endpoints");
    agrees::<core::v1::ConfigMap>("", "ConfigMap");
    agrees::<core::v1::Secret>("", "Secret");
    agrees::<core::v1::ServiceAccount>("", "ServiceAccount");
    agrees::<core::v1::Event>("", "Event");
    agrees::<events::v1::Event>("events.k8s.io", "Event");
    agrees::<apps::v1::Deployment>("apps", "Deployment");
    agrees::<apps::v1::ReplicaSet>("apps", "ReplicaSet");
    agrees::<autoscaling::v1::Scale>("autoscaling", "Scale");
    agrees::<coordination::v1::Lease>("coordination.k8s.io", "Lease");
    agrees::<discovery::v1::EndpointSlice>("discovery.k8s.io", "EndpointSlice");
    agrees::<policy::v1::Eviction>("policy", "Eviction");
    agrees::<authentication::v1::TokenRequest>("authentication.k8s.io", "TokenRequest");
}
