//! Round trips, `k8s-pb`'s reading of our bytes, and damage.

use super::*;
use crate::schema::decode::{self, FieldValidation};
use crate::schema::sample::{Sampler, rounds};
use crate::schema::{Shape, all_names, named};
use prost::Message;
use serde_json::json;

/// Every kind of the table that has a protobuf form, with its type.
fn kinds() -> Vec<(String, String, &'static Type)> {
    let mut found = Vec::new();
    for ty in all_names().filter_map(named) {
        let in_protobuf = ty.fields.iter().any(|f| !f.number.is_empty());
        for gvk in ty.kinds.iter().filter(|k| k.version != "*" && in_protobuf) {
            let api_version = match gvk.group.as_ref() {
                "" => gvk.version.to_string(),
                group => format!("{group}/{}", gvk.version),
            };
            found.push((api_version, gvk.kind.to_string(), ty));
        }
    }
    found
}

#[test]
fn every_kind_survives_the_round_trip_with_every_field_set() {
    let kinds = kinds();
    assert!(kinds.len() > 120, "{}", kinds.len());
    for (seed, (api_version, kind, ty)) in kinds.iter().enumerate() {
        // Fields without a number (resource.k8s.io/v1alpha3, parts of JSON schemas) are not sampled.
        let tree = Sampler::new(seed as u64, 6).object(ty, api_version, kind);
        let canonical = decode::tree(tree.clone(), ty, FieldValidation::Strict).expect(kind);
        assert_eq!(canonical.tree, tree, "{kind}: samples are canonical");
        let bytes = encode(ty, api_version, kind, &tree).expect(kind);
        assert!(is_protobuf(&bytes));
        let envelope = decode(&bytes, None).expect(kind);
        assert_eq!((&envelope.api_version, &envelope.kind), (api_version, kind));
        assert_eq!(envelope.tree, tree, "{kind}");
    }
}

/// `k8s-pb` drops fields whose numbers it does not know and refuses wrong wire types. What comes back whole was right.
fn passes_through<M: Message + Default>(group: &str, kind: &str) {
    let ty = of_kind(group, "v1", kind).expect(kind);
    let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    let tree = Sampler::new(11, 8).object(ty, &api_version, kind);
    let raw = write::object(ty, &tree).expect(kind);
    let theirs = M::decode(&*raw).expect(kind);
    let mut back = read::object(ty, &theirs.encode_to_vec(), 0).expect(kind);
    back.insert("apiVersion".into(), api_version.into());
    back.insert("kind".into(), kind.into());
    assert_eq!(Value::Object(back), tree, "{kind}");
}

#[test]
fn numbers_are_those_of_upstreams_protos() {
    use k8s_pb::api::{
        apps, autoscaling, batch, coordination, core, discovery, events, networking, policy, rbac, storage,
    };
    use k8s_pb::apimachinery::pkg::apis::meta;
    passes_through::<core::v1::Pod>("", "Pod");
    passes_through::<core::v1::PodList>("", "PodList");
    passes_through::<core::v1::Namespace>("", "Namespace");
    passes_through::<core::v1::Node>("", "Node");
    passes_through::<core::v1::Service>("", "Service");
    passes_through::<core::v1::Endpoints>("", "Endpoints");
    passes_through::<core::v1::ConfigMap>("", "ConfigMap");
    passes_through::<core::v1::Secret>("", "Secret");
    passes_through::<core::v1::ServiceAccount>("", "ServiceAccount");
    passes_through::<core::v1::Event>("", "Event");
    passes_through::<core::v1::Binding>("", "Binding");
    passes_through::<core::v1::PersistentVolume>("", "PersistentVolume");
    passes_through::<core::v1::PersistentVolumeClaim>("", "PersistentVolumeClaim");
    passes_through::<core::v1::ReplicationController>("", "ReplicationController");
    passes_through::<core::v1::LimitRange>("", "LimitRange");
    passes_through::<core::v1::ResourceQuota>("", "ResourceQuota");
    passes_through::<events::v1::Event>("events.k8s.io", "Event");
    passes_through::<apps::v1::Deployment>("apps", "Deployment");
    passes_through::<apps::v1::ReplicaSet>("apps", "ReplicaSet");
    passes_through::<apps::v1::StatefulSet>("apps", "StatefulSet");
    passes_through::<apps::v1::DaemonSet>("apps", "DaemonSet");
    passes_through::<apps::v1::ControllerRevision>("apps", "ControllerRevision");
    passes_through::<batch::v1::Job>("batch", "Job");
    passes_through::<batch::v1::CronJob>("batch", "CronJob");
    passes_through::<autoscaling::v1::Scale>("autoscaling", "Scale");
    passes_through::<coordination::v1::Lease>("coordination.k8s.io", "Lease");
    passes_through::<discovery::v1::EndpointSlice>("discovery.k8s.io", "EndpointSlice");
    passes_through::<networking::v1::Ingress>("networking.k8s.io", "Ingress");
    passes_through::<networking::v1::NetworkPolicy>("networking.k8s.io", "NetworkPolicy");
    passes_through::<policy::v1::Eviction>("policy", "Eviction");
    passes_through::<policy::v1::PodDisruptionBudget>("policy", "PodDisruptionBudget");
    passes_through::<rbac::v1::ClusterRole>("rbac.authorization.k8s.io", "ClusterRole");
    passes_through::<rbac::v1::RoleBinding>("rbac.authorization.k8s.io", "RoleBinding");
    passes_through::<storage::v1::StorageClass>("storage.k8s.io", "StorageClass");
    passes_through::<k8s_pb::api::authentication::v1::TokenRequest>("authentication.k8s.io", "TokenRequest");
    passes_through::<k8s_pb::api::authorization::v1::SubjectAccessReview>(
        "authorization.k8s.io",
        "SubjectAccessReview",
    );
    passes_through::<meta::v1::DeleteOptions>("", "DeleteOptions");
    passes_through::<meta::v1::Status>("", "Status");
}

#[test]
fn what_go_writes_for_zeros_is_left_out() {
    // As `kubectl create deployment` sends it: every value field written, though zero.
    use k8s_pb::api::apps::v1::{Deployment, DeploymentSpec};
    use k8s_pb::api::core::v1::{Container, PodSpec, PodTemplateSpec};
    use k8s_pb::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
    let meta = |name: &str| ObjectMeta {
        name: Some(name.into()),
        namespace: Some(String::new()),
        generation: Some(0),
        creation_timestamp: Some(Time::default()),
        ..ObjectMeta::default()
    };
    let container =
        Container { name: Some("c".into()), stdin: Some(false), image: Some("i".into()), ..Container::default() };
    let pod = PodSpec {
        containers: vec![container],
        host_network: Some(false),
        termination_grace_period_seconds: Some(0),
        ..PodSpec::default()
    };
    let template = PodTemplateSpec { metadata: Some(meta("")), spec: Some(pod) };
    let spec = DeploymentSpec {
        replicas: Some(0),
        paused: Some(false),
        template: Some(template),
        ..DeploymentSpec::default()
    };
    let raw = Deployment { metadata: Some(meta("d")), spec: Some(spec), ..Deployment::default() }.encode_to_vec();
    let mut body = MAGIC.to_vec();
    let mut type_meta = Vec::new();
    wire::put_bytes(&mut type_meta, 1, b"apps/v1");
    wire::put_bytes(&mut type_meta, 2, b"Deployment");
    wire::put_bytes(&mut body, 1, &type_meta);
    wire::put_bytes(&mut body, 2, &raw);
    let expected = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 0, "template": {"metadata": {}, "spec": {
            "containers": [{"name": "c", "image": "i"}], "terminationGracePeriodSeconds": 0}}},
    });
    assert_eq!(decode(&body, None).expect("good").tree, expected);
}

#[test]
fn an_envelope_without_a_kind_needs_a_fallback() {
    let options = of_kind("apps", "v1", "DeleteOptions").expect("built in");
    let body = encode(options, "", "", &json!({"gracePeriodSeconds": 0})).expect("good");
    assert_eq!(decode(&body, None), Err(DecodeError::Protobuf(r#"no kind "" is registered for version """#.into())));
    assert_eq!(decode(&body, Some(options)).expect("good").tree, json!({"gracePeriodSeconds": 0}));
}

#[test]
fn a_tree_that_does_not_fit_is_named() {
    let pod = of_kind("", "v1", "Pod").expect("built in");
    let error = |tree: Value| encode(pod, "v1", "Pod", &tree).unwrap_err().to_string();
    let tree = json!({"spec": {"containers": [{"ports": [{"containerPort": "80"}]}]}});
    assert_eq!(error(tree), "spec.containers[0].ports[0].containerPort: cannot be written in protobuf as int32");
    assert_eq!(error(json!({"spek": 1})), "spek: cannot be written in protobuf as a field with a number");
}

#[test]
fn packed_numbers_are_read() {
    let ty = named("io.k8s.api.core.v1.PodSecurityContext").expect("built in");
    let field = ty.field("supplementalGroups").expect("built in");
    assert!(matches!(&field.shape, Shape::List(item) if **item == Shape::Int64));
    let mut raw = Vec::new();
    wire::put_bytes(&mut raw, field.number[0], &[1, 0x80, 1]);
    assert_eq!(read::object(ty, &raw, 0).expect("good")["supplementalGroups"], json!([1, 128]));
}

#[test]
fn damage_never_panics() {
    let bodies: Vec<Vec<u8>> = [("", "Pod"), ("apps", "Deployment"), ("", "Secret"), ("coordination.k8s.io", "Lease")]
        .into_iter()
        .map(|(group, kind)| {
            let ty = of_kind(group, "v1", kind).expect(kind);
            let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
            encode(ty, &api_version, kind, &Sampler::new(3, 4).object(ty, &api_version, kind)).expect(kind)
        })
        .collect();
    let pod = of_kind("", "v1", "Pod");
    let mut sampler = Sampler::new(5, 0);
    let (mut good, mut bad) = (0, 0);
    for round in 0..rounds(8000) {
        let mut bytes = bodies[round % bodies.len()].clone();
        for _ in 0..=sampler.below(3) {
            let at = sampler.below(bytes.len());
            match sampler.below(3) {
                0 => bytes[at] = sampler.next() as u8,
                1 => bytes.truncate(at.max(5)),
                _ => bytes[at] ^= 1 << sampler.below(8),
            }
        }
        match decode(&bytes, pod) {
            Ok(_) => good += 1,
            Err(_) => bad += 1,
        }
    }
    assert!(good > 100 && bad > 100, "{good} {bad}");
}

#[test]
fn nesting_is_bounded() {
    let crd = of_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition").expect("built in");
    let schema = named("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps").expect("built in");
    let not = schema.field("not").expect("built in").number[0];
    let mut raw = Vec::new();
    for _ in 0..5000 {
        let inner = std::mem::take(&mut raw);
        wire::put_bytes(&mut raw, not, &inner);
    }
    assert_eq!(read::object(schema, &raw, 0), Err("exceeded max depth".into()));
    assert!(read::object(crd, &[], 0).is_ok());
}

/// Bodies as kubectl 1.33 sent them.
#[test]
fn what_kubectl_creates_is_read() {
    let table: [(&[u8], Value); 5] = [
        (
            include_bytes!("testdata/create-deployment.pb"),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "dd", "labels": {"app": "dd"}},
                "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "dd"}}, "strategy": {}, "template": {
                    "metadata": {"labels": {"app": "dd"}},
                    "spec": {"containers": [{"name": "x", "image": "x", "ports": [{"containerPort": 80}], "resources": {}}]}}},
                "status": {}}),
        ),
        (
            include_bytes!("testdata/create-service-nodeport.pb"),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "np", "labels": {"app": "np"}},
                "spec": {"type": "NodePort", "selector": {"app": "np"},
                    "ports": [{"name": "80-http", "protocol": "TCP", "port": 80, "targetPort": "http"}]},
                "status": {"loadBalancer": {}}}),
        ),
        (
            include_bytes!("testdata/create-secret.pb"),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "Yg=="}}),
        ),
        (
            include_bytes!("testdata/create-token.pb"),
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": {},
                "status": {"token": ""}}),
        ),
        (
            include_bytes!("testdata/create-quota.pb"),
            json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": {"cpu": "1"}}, "status": {}}),
        ),
    ];
    for (body, expected) in table {
        assert_eq!(decode(body, None).expect("kubectl's").tree, expected);
    }
}
