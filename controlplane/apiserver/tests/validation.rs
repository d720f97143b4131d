//! Upstream's paths and messages, one row per mistake: a good object, what is done to it, what is said.

mod support;

use coracle_proto::resource::*;
use coracle_proto::{ObjectKey, Resource};
use serde_json::{Value, json};
use support::{admin, deployment, pod, registry};

/// (JSON pointer, value to put there, what the message must contain)
type Row = (&'static str, Value, &'static str);

fn set(object: &mut Value, pointer: &str, value: Value) {
    let (parent, last) = pointer.rsplit_once('/').expect("a pointer");
    let mut at = object;
    for step in parent.split('/').skip(1) {
        at = match step.parse::<usize>() {
            Ok(index) => &mut at[index],
            Err(_) => &mut at[step],
        };
    }
    match last.parse::<usize>() {
        Ok(index) => at[index] = value,
        Err(_) => at[last] = value,
    }
}

async fn check(resource: &Resource, good: Value, rows: Vec<Row>) {
    let registry = registry().await;
    let api = admin(&registry);
    let key = if resource.namespaced { ObjectKey::new("default", "") } else { ObjectKey::default() };
    for (pointer, value, wanted) in rows {
        let mut bad = good.clone();
        set(&mut bad, pointer, value.clone());
        match api.create(resource, &key, "", bad).await {
            Ok(_) => panic!("{pointer} = {value} was accepted, not refused with {wanted}"),
            Err(error) => assert!(error.message.contains(wanted), "{pointer} = {value}:\n{}\n{wanted}", error.message),
        }
    }
    api.create(resource, &key, "", good).await.expect("the good object is good");
}

#[tokio::test]
async fn pod_containers() {
    let mut good = pod("a");
    good["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80, "name": "http"}]);
    good["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "b"}]);
    good["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
    good["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    let rows: Vec<Row> = vec![
        ("/spec/containers", json!([]), "spec.containers: Required value"),
        ("/spec/containers/0/name", json!(""), "spec.containers[0].name: Required value"),
        (
            "/spec/containers/0/name",
            json!("A"),
            "spec.containers[0].name: Invalid value: \"A\": a lowercase RFC 1123 label",
        ),
        ("/spec/containers/0/image", json!(""), "spec.containers[0].image: Required value"),
        ("/spec/containers/0/image", json!(" a"), "must not have leading or trailing whitespace"),
        (
            "/spec/containers/0/imagePullPolicy",
            json!("Often"),
            "spec.containers[0].imagePullPolicy: Unsupported value: \"Often\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
        ),
        (
            "/spec/containers",
            json!([{"name": "c", "image": "a"}, {"name": "c", "image": "a"}]),
            "spec.containers[1].name: Duplicate value: \"c\"",
        ),
        (
            "/spec/containers/0/ports/0/containerPort",
            json!(70000),
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        ("/spec/containers/0/ports/0/containerPort", json!(0), "ports[0].containerPort: Required value"),
        ("/spec/containers/0/ports/0/protocol", json!("ICMP"), "supported values: \"SCTP\", \"TCP\", \"UDP\""),
        ("/spec/containers/0/ports/0/name", json!("a--b"), "must not contain consecutive hyphens"),
        ("/spec/containers/0/env/0/name", json!(""), "spec.containers[0].env[0].name: Required value"),
        ("/spec/containers/0/env/0/name", json!("a=b"), "spec.containers[0].env[0].name: Invalid value"),
        (
            "/spec/containers/0/env/0/valueFrom",
            json!({"fieldRef": {"fieldPath": "spec.nodeName"}}),
            "may not be specified when `value` is not empty",
        ),
        (
            "/spec/containers/0/env/0",
            json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.foo"}}}),
            "valueFrom.fieldRef.fieldPath: Unsupported value: \"spec.foo\"",
        ),
        (
            "/spec/containers/0/env/0",
            json!({"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": ""}}}),
            "valueFrom.secretKeyRef.key: Required value",
        ),
        ("/spec/containers/0/envFrom", json!([{"prefix": "a"}]), "must specify one of: `configMapRef` or `secretRef`"),
        (
            "/spec/containers/0/volumeMounts/0/name",
            json!("w"),
            "spec.containers[0].volumeMounts[0].name: Not found: \"w\"",
        ),
        ("/spec/containers/0/volumeMounts/0/mountPath", json!(""), "volumeMounts[0].mountPath: Required value"),
        ("/spec/containers/0/volumeMounts/0/subPath", json!("../a"), "must not contain '..'"),
        ("/spec/containers/0/volumeMounts/0/subPath", json!("/a"), "must be a relative path"),
        ("/spec/volumes/0/hostPath", json!({"path": "/x"}), "may not specify more than 1 volume type"),
        ("/spec/volumes/1", json!({"name": "v", "emptyDir": {}}), "spec.volumes[1].name: Duplicate value: \"v\""),
        (
            "/spec/containers/0/resources",
            json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        ),
        (
            "/spec/containers/0/resources",
            json!({"requests": {"memory": "-1Gi"}}),
            "spec.containers[0].resources.requests[memory]: Invalid value: \"-1Gi\": must be greater than or equal to 0",
        ),
        (
            "/spec/containers/0/resources",
            json!({"limits": {"apples": "1"}}),
            "must be a standard resource type or fully qualified",
        ),
    ];
    good["spec"]["volumes"].as_array_mut().expect("a list").push(json!({"name": "w2", "emptyDir": {}}));
    check(&PODS, good, rows).await;
}

#[tokio::test]
async fn pod_probes_and_hooks() {
    let mut good = pod("a");
    good["spec"]["containers"][0]["livenessProbe"] = json!({"httpGet": {"path": "/", "port": 80}});
    let rows: Vec<Row> = vec![
        ("/spec/containers/0/livenessProbe", json!({}), "livenessProbe: Required value: must specify a handler type"),
        (
            "/spec/containers/0/livenessProbe/exec",
            json!({"command": ["a"]}),
            "may not specify more than 1 handler type",
        ),
        (
            "/spec/containers/0/livenessProbe/httpGet/port",
            json!(0),
            "livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        ("/spec/containers/0/livenessProbe/httpGet/scheme", json!("FTP"), "supported values: \"HTTP\", \"HTTPS\""),
        (
            "/spec/containers/0/livenessProbe/successThreshold",
            json!(2),
            "livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        ("/spec/containers/0/livenessProbe/periodSeconds", json!(-1), "must be greater than or equal to 0"),
        (
            "/spec/containers/0/readinessProbe",
            json!({"exec": {"command": []}}),
            "readinessProbe.exec.command: Required value",
        ),
        (
            "/spec/containers/0/lifecycle",
            json!({"preStop": {}}),
            "lifecycle.preStop: Required value: must specify a handler type",
        ),
        (
            "/spec/initContainers",
            json!([{"name": "i", "image": "a", "livenessProbe": {"exec": {"command": ["a"]}}}]),
            "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ),
    ];
    check(&PODS, good, rows).await;
}

#[tokio::test]
async fn pod_scheduling_and_security() {
    let rows: Vec<Row> = vec![
        (
            "/spec/restartPolicy",
            json!("Sometimes"),
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\"",
        ),
        ("/spec/dnsPolicy", json!("Guess"), "spec.dnsPolicy: Unsupported value: \"Guess\""),
        ("/spec/dnsPolicy", json!("None"), "must provide `dnsConfig` when `dnsPolicy` is None"),
        ("/spec/nodeSelector", json!({"a b": "c"}), "spec.nodeSelector: Invalid value: \"a b\""),
        ("/spec/activeDeadlineSeconds", json!(0), "must be between 1 and 2147483647, inclusive"),
        ("/spec/terminationGracePeriodSeconds", json!(-5), "must be greater than or equal to 0"),
        ("/spec/hostname", json!("A.b"), "spec.hostname: Invalid value: \"A.b\""),
        ("/spec/tolerations", json!([{"operator": "Equal"}]), "operator must be Exists when `key` is empty"),
        ("/spec/tolerations", json!([{"key": "a", "operator": "Has"}]), "supported values: \"Equal\", \"Exists\""),
        (
            "/spec/tolerations",
            json!([{"key": "a", "operator": "Exists", "tolerationSeconds": 1, "effect": "NoSchedule"}]),
            "effect must be 'NoExecute' when `tolerationSeconds` is set",
        ),
        (
            "/spec/affinity",
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}),
            "nodeSelectorTerms: Required value: must have at least one node selector term",
        ),
        (
            "/spec/affinity",
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms":
                [{"matchExpressions": [{"key": "a", "operator": "In"}]}]}}}),
            "matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
        ),
        (
            "/spec/affinity",
            json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution":
                [{"weight": 0, "podAffinityTerm": {"topologyKey": "a"}}]}}),
            "weight: Invalid value: 0: must be in the range 1-100",
        ),
        (
            "/spec/affinity",
            json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": {}}]}}),
            "topologyKey: Required value: can not be empty",
        ),
        (
            "/spec/topologySpreadConstraints",
            json!([{"maxSkew": 0, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}]),
            "maxSkew: Invalid value: 0: must be greater than zero",
        ),
        ("/spec/securityContext", json!({"runAsUser": -1}), "spec.securityContext.runAsUser: Invalid value: -1"),
        (
            "/spec/securityContext",
            json!({"seccompProfile": {"type": "Localhost"}}),
            "must be set when seccomp type is Localhost",
        ),
        (
            "/spec/containers/0/securityContext",
            json!({"privileged": true, "allowPrivilegeEscalation": false}),
            "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        ),
        ("/spec/priorityClassName", json!("urgent"), "no PriorityClass with name urgent was found"),
        ("/metadata/labels", json!({"a": "-"}), "metadata.labels: Invalid value: \"-\""),
        ("/metadata/annotations", json!({"a b": "c"}), "metadata.annotations: Invalid value: \"a b\""),
        (
            "/metadata/finalizers",
            json!(["plain"]),
            "name is neither a standard finalizer name nor is it fully qualified",
        ),
        (
            "/metadata/ownerReferences",
            json!([{"apiVersion": "v1", "kind": "Pod", "name": "", "uid": "u"}]),
            "ownerReferences[0].name: Invalid value: \"\": must not be empty",
        ),
    ];
    check(&PODS, pod("a"), rows).await;
}

#[tokio::test]
async fn workloads() {
    let rows: Vec<Row> = vec![
        ("/spec/replicas", json!(-1), "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        ("/spec/selector", json!({}), "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
        (
            "/spec/template/spec/restartPolicy",
            json!("Never"),
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
        ),
        ("/spec/template/spec/containers", json!([]), "spec.template.spec.containers: Required value"),
        (
            "/spec/strategy",
            json!({"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}),
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ),
        (
            "/spec/strategy",
            json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
        ),
        (
            "/spec/strategy",
            json!({"rollingUpdate": {"maxSurge": "half"}}),
            "must be an integer or percentage (e.g '5%')",
        ),
        ("/spec/strategy", json!({"type": "Big"}), "supported values: \"Recreate\", \"RollingUpdate\""),
        ("/spec/progressDeadlineSeconds", json!(0), "must be greater than minReadySeconds"),
    ];
    check(&DEPLOYMENTS, deployment("a"), rows).await;
    let mut set = deployment("a");
    set["kind"] = "ReplicaSet".into();
    let rows: Vec<Row> = vec![
        ("/spec/selector", json!(null), "spec.selector: Required value"),
        (
            "/spec/selector",
            json!(null),
            "spec.template.metadata.labels: Invalid value: {\"app\":\"a\"}: `selector` does not match template `labels`",
        ),
        (
            "/spec/template",
            json!(null),
            "[spec.template.metadata.labels: Invalid value: {}: `selector` does not match template `labels`, \
             spec.template.spec.containers: Required value]",
        ),
    ];
    check(&REPLICA_SETS, set, rows).await;
}

#[tokio::test]
async fn services() {
    let good = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    let rows: Vec<Row> = vec![
        ("/metadata/name", json!("1a"), "metadata.name: Invalid value: \"1a\": a DNS-1035 label"),
        ("/spec/ports", json!([]), "spec.ports: Required value"),
        ("/spec/ports", json!([{"port": 1}, {"port": 2}]), "spec.ports[0].name: Required value"),
        (
            "/spec/ports/0/port",
            json!(0),
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        ("/spec/ports/0/targetPort", json!("a_b"), "spec.ports[0].targetPort: Invalid value: \"a_b\""),
        (
            "/spec/ports/0/nodePort",
            json!(30000),
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
        (
            "/spec/type",
            json!("Magic"),
            "supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
        ),
        ("/spec/type", json!("ExternalName"), "spec.externalName: Required value"),
        ("/spec/clusterIP", json!("nonsense"), "must be a valid IP address"),
        ("/spec/sessionAffinity", json!("Sticky"), "supported values: \"ClientIP\", \"None\""),
        ("/spec/selector", json!({"a": "b c"}), "spec.selector: Invalid value: \"b c\""),
    ];
    check(&SERVICES, good, rows).await;
}

#[tokio::test]
async fn data_and_the_rest() {
    let good = json!({"metadata": {"name": "c"}, "data": {"a": "b"}});
    let rows: Vec<Row> = vec![
        ("/data", json!({"a b": "c"}), "data[a b]: Invalid value: \"a b\": a valid config key"),
        ("/binaryData", json!({"a": "AAAA"}), "duplicate of key present in binaryData"),
        ("/data", json!({"a": "x".repeat(1 << 20 | 1)}), "Too long: may not be more than 1048576 bytes"),
    ];
    check(&CONFIG_MAPS, good, rows).await;
    let good =
        json!({"metadata": {"name": "s"}, "type": "kubernetes.io/tls", "data": {"tls.crt": "AA==", "tls.key": "AA=="}});
    check(&SECRETS, good, vec![("/data", json!({"tls.crt": "AA=="}), "data[tls.key]: Required value")]).await;
    let good = json!({"metadata": {"name": "l"}, "spec": {"leaseDurationSeconds": 1}});
    check(&LEASES, good, vec![("/spec/leaseDurationSeconds", json!(0), "must be greater than 0")]).await;
    let good = json!({"metadata": {"name": "e"}, "addressType": "IPv4", "endpoints": [{"addresses": ["10.1.2.3"]}], "ports": []});
    let rows: Vec<Row> = vec![
        ("/addressType", json!(""), "addressType: Required value"),
        (
            "/endpoints/0/addresses",
            json!([]),
            "endpoints[0].addresses: Required value: must contain at least 1 address",
        ),
        ("/endpoints/0/addresses", json!(["fe80::1"]), "endpoints[0].addresses[0]: Invalid value"),
        ("/endpoints/0/addresses", json!(["127.0.0.1"]), "may not be in the loopback range"),
    ];
    check(&ENDPOINT_SLICES, good, rows).await;
    let good = json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}});
    let rows: Vec<Row> = vec![
        ("/spec/taints/0/effect", json!("Maybe"), "spec.taints[0].effect: Unsupported value: \"Maybe\""),
        ("/status", json!({"capacity": {"cpu": "-1"}}), "status.capacity[cpu]: Invalid value: \"-1\""),
    ];
    check(&NODES, good, rows).await;
}

#[tokio::test]
async fn what_may_not_change() {
    let registry = registry().await;
    let api = admin(&registry);
    let new = ObjectKey::new("default", "");
    let key = ObjectKey::new("default", "a");
    api.create(&PODS, &new, "", pod("a")).await.expect("created");
    let change = |pointer: &'static str, value: Value| {
        let api = api.clone();
        let key = key.clone();
        async move {
            let mut object = api.get(&PODS, &key).await.expect("there").tree().expect("JSON");
            set(&mut object, pointer, value);
            api.update(&PODS, &key, "", object).await.map_err(|e| e.message)
        }
    };
    change("/spec/containers/0/image", json!("demo:v2")).await.expect("images may change");
    change("/spec/activeDeadlineSeconds", json!(100)).await.expect("a deadline may be set");
    let error = change("/spec/activeDeadlineSeconds", json!(200)).await.expect_err("not prolonged");
    assert!(error.contains("must be less than or equal to previous value"), "{error}");
    let error = change("/spec/containers/0/command", json!(["x"])).await.expect_err("commands may not");
    assert!(
        error.contains("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"),
        "{error}"
    );
    let error = change("/spec/tolerations", json!([])).await.expect_err("tolerations stay");
    assert!(error.contains("existing toleration can not be modified"), "{error}");
    let error = change("/metadata/creationTimestamp", json!("2001-01-01T00:00:00Z")).await.expect_err("time stays");
    assert!(error.contains("metadata.creationTimestamp: Invalid value"), "{error}");

    api.create(&DEPLOYMENTS, &new, "", deployment("a")).await.expect("created");
    let mut other = deployment("a");
    other["spec"]["selector"] = json!({"matchLabels": {"app": "b"}});
    other["spec"]["template"]["metadata"]["labels"] = json!({"app": "b"});
    let error = api.update(&DEPLOYMENTS, &key, "", other).await.expect_err("selectors stay").message;
    assert_eq!(
        error,
        r#"Deployment.apps "a" is invalid: spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable"#
    );

    let secret = json!({"metadata": {"name": "a"}, "immutable": true, "stringData": {"k": "v"}});
    let made = api.create(&SECRETS, &new, "", secret).await.expect("created").tree().expect("JSON");
    assert_eq!((&made["data"]["k"], &made["type"]), (&json!("dg=="), &json!("Opaque")));
    assert!(made.get("stringData").is_none());
    let changed = json!({"metadata": {"name": "a"}, "immutable": true, "stringData": {"k": "w"}});
    let error = api.update(&SECRETS, &key, "", changed).await.expect_err("immutable").message;
    assert!(error.contains("data: Forbidden: field is immutable when `immutable` is set"), "{error}");
    let opened = json!({"metadata": {"name": "a"}, "data": {"k": "dg=="}});
    let error = api.update(&SECRETS, &key, "", opened).await.expect_err("stays immutable").message;
    assert!(error.contains("immutable: Forbidden"), "{error}");
}
