//! Whatever arrives, the answer is the right status with the field's path, and the server goes on.

mod support;

use http::Method;
use serde_json::{Value, json};
use support::{Cluster, deployment, pod, request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const JSON: (&str, &str) = ("content-type", "application/json");
const YAML: (&str, &str) = ("content-type", "application/yaml");
const PROTOBUF: (&str, &str) = ("content-type", "application/vnd.kubernetes.protobuf");
const PODS: &str = "/api/v1/namespaces/default/pods";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn still_serves(cluster: &Cluster) {
    assert_eq!(cluster.get("/api/v1/namespaces/default").await.status, 200);
}

#[tokio::test]
async fn unknown_and_doubled_fields() {
    let cluster = Cluster::start().await;
    let mut odd = pod("a");
    odd["spec"]["foo"] = 1.into();
    let strict = cluster.post(&format!("{PODS}?fieldValidation=Strict"), &odd).await;
    assert_eq!(strict.status, 400);
    assert!(strict.message().contains(r#"strict decoding error: unknown field "spec.foo""#), "{}", strict.message());
    let warned = cluster.post(PODS, &odd).await;
    assert_eq!(warned.status, 201);
    assert_eq!(warned.headers["warning"], r#"299 - "unknown field \"spec.foo\"""#);
    let ignored = cluster.post(&format!("{PODS}?fieldValidation=Ignore&dryRun=All"), &odd).await;
    assert!(ignored.headers.get("warning").is_none());
    let doubled = r#"{"metadata":{"name":"d"},"data":{"a":"1"},"data":{"a":"2"}}"#;
    let answer = cluster.ask(Method::POST, &format!("{CONFIG_MAPS}?fieldValidation=Strict"), &[JSON], doubled).await;
    assert_eq!(answer.status, 400);
    assert!(answer.message().contains(r#"duplicate field "data""#), "{}", answer.message());
    still_serves(&cluster).await;
}

#[tokio::test]
async fn wrong_types_and_names() {
    let cluster = Cluster::start().await;
    let mut wrong = pod("a");
    wrong["spec"]["containers"] = json!("c");
    let answer = cluster.post(PODS, &wrong).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.message().contains("spec.containers"), "{}", answer.message());
    let answer = cluster.post(PODS, &pod("Not_A_Name")).await;
    assert_eq!(answer.status, 422);
    assert!(answer.message().starts_with(r#"Pod "Not_A_Name" is invalid: metadata.name: Invalid value: "Not_A_Name""#));
    assert_eq!(answer.json()["details"]["causes"][0]["field"], "metadata.name");
    let mut other = pod("a");
    other["kind"] = "Service".into();
    assert_eq!(cluster.post(PODS, &other).await.status, 400);
    let mut other = pod("a");
    other["apiVersion"] = "apps/v1".into();
    let answer = cluster.post(PODS, &other).await;
    assert_eq!(answer.message(), "the API version in the data (apps/v1) does not match the expected API version (v1)");
    let mut elsewhere = pod("a");
    elsewhere["metadata"]["namespace"] = "kube-system".into();
    let answer = cluster.post(PODS, &elsewhere).await;
    assert_eq!(
        (answer.status.as_u16(), answer.message().as_str()),
        (400, "the namespace of the provided object does not match the namespace sent on the request")
    );
}

#[tokio::test]
async fn a_deployment_needs_its_selector() {
    let cluster = Cluster::start().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let mut fragment = deployment("a");
    fragment["spec"].as_object_mut().expect("a spec").remove("selector");
    let answer = cluster.post(path, &fragment).await;
    assert_eq!(answer.status, 422);
    assert!(answer.message().contains("spec.selector: Required value"), "{}", answer.message());
    let mut differs = deployment("a");
    differs["spec"]["selector"] = json!({"matchLabels": {"app": "b"}});
    let answer = cluster.post(path, &differs).await;
    assert_eq!(
        answer.message(),
        "Deployment.apps \"a\" is invalid: spec.template.metadata.labels: Invalid value: {\"app\":\"a\"}: `selector` does not match template `labels`"
    );
}

#[tokio::test]
async fn bodies_that_are_too_large_or_too_deep() {
    let cluster = Cluster::start().await;
    let large = json!({"metadata": {"name": "l"}, "data": {"a": "x".repeat(10 << 20)}});
    // The server answers before it has read all; the client may notice only the closed connection.
    let head = format!(
        "POST {CONFIG_MAPS} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        large.to_string().len()
    );
    let mut stream = cluster.connect(Some(("admin", &["system:masters"]))).await;
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("Request entity too large: limit is 3145728"), "{answer}");
    let chunked = cluster.ask(Method::POST, CONFIG_MAPS, &[JSON], vec![b' '; (3 << 20) + 1]).await;
    assert_eq!(chunked.status, 413);
    for deep in ["[".repeat(10_000), "{\"a\":".repeat(10_000)] {
        let answer = cluster.ask(Method::POST, CONFIG_MAPS, &[JSON], deep.clone()).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        let answer = cluster.ask(Method::POST, CONFIG_MAPS, &[YAML], deep.clone()).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        let path = format!("{CONFIG_MAPS}/kube-root-ca.crt");
        let merge = ("content-type", "application/merge-patch+json");
        assert_eq!(cluster.ask(Method::PATCH, &path, &[merge], deep).await.status, 400);
    }
    still_serves(&cluster).await;
}

#[tokio::test]
async fn yaml_that_refers_to_itself() {
    let cluster = Cluster::start().await;
    let cyclic = "metadata:\n  name: a\ndata: &a\n  b: *a\n";
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
        d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n\
        g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: &h [*g,*g,*g,*g,*g,*g,*g,*g,*g]\ni: [*h,*h,*h,*h,*h,*h,*h,*h,*h]\n";
    for text in [cyclic, bomb, "\t:", "- a\nb: c", "%"] {
        let path = format!("{CONFIG_MAPS}?fieldValidation=Strict");
        let answer = cluster.ask(Method::POST, &path, &[YAML], text).await;
        assert_eq!(answer.status, 400, "{text}: {}", answer.text());
    }
    still_serves(&cluster).await;
}

#[tokio::test]
async fn damaged_protobuf() {
    let cluster = Cluster::start().await;
    for bytes in [&b"k8s\0"[..], b"k8s\0\xff\xff\xff\xff\xff", b"k8s\0\x0a\x7f", b"{}", b"", b"k8s\0\x12\x02\x08\x01"] {
        let answer = cluster.ask(Method::POST, PODS, &[PROTOBUF], bytes.to_vec()).await;
        assert!(answer.status.is_client_error(), "{bytes:?}: {} {}", answer.status, answer.text());
    }
    still_serves(&cluster).await;
}

#[tokio::test]
async fn a_truncated_request() {
    let cluster = Cluster::start().await;
    for text in [
        format!("POST {PODS} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{{\"met"),
        "GET /api HTTP/1.1\r\nhost: loc".to_owned(),
        "\0\0\0\0".to_owned(),
        "GET /api/v1/\u{0} HTTP/1.1\r\n\r\n".to_owned(),
    ] {
        let mut stream = cluster.connect(Some(("admin", &["system:masters"]))).await;
        stream.write_all(text.as_bytes()).await.expect("sent");
        stream.shutdown().await.expect("closed");
        let mut rest = Vec::new();
        // Any answer or none; but an end.
        let end = tokio::time::timeout(std::time::Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
        assert!(end.is_ok(), "the server left {text:?} hanging");
    }
    still_serves(&cluster).await;
}

#[tokio::test]
async fn a_body_nobody_may_send_is_not_waited_for() {
    let cluster = Cluster::start().await;
    let reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let one = "/api/v1/namespaces/default/configmaps/a";
    for (method, path) in [
        ("POST", CONFIG_MAPS),
        ("PUT", one),
        ("PATCH", one),
        ("DELETE", one),
        ("DELETE", CONFIG_MAPS),
        ("POST", reviews),
    ] {
        let mut stream = cluster.connect(None).await;
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{{");
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut start = [0; 12];
        let answered = tokio::time::timeout(std::time::Duration::from_secs(10), stream.read_exact(&mut start)).await;
        answered.unwrap_or_else(|_| panic!("{method} {path} waits for the body")).expect("an answer");
        assert_eq!(&start, b"HTTP/1.1 403", "{method} {path}");
    }
}

#[tokio::test]
async fn copies_that_double_the_object() {
    let cluster = Cluster::start().await;
    let path = format!("{CONFIG_MAPS}/a");
    cluster.post(CONFIG_MAPS, &json!({"metadata": {"name": "a"}, "data": {"k": "v".repeat(1000)}})).await;
    let patch = |count: usize| {
        let copies = (0..count).map(|i| json!({"op": "copy", "from": "/data", "path": format!("/data/c{i}")}));
        Value::from(copies.collect::<Vec<_>>()).to_string()
    };
    let kind = [("content-type", "application/json-patch+json")];
    let answer = cluster.ask(Method::PATCH, &path, &kind, patch(16)).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    let small = r#"[{"op":"copy","from":"/data/k","path":"/data/l"},{"op":"copy","from":"/data/no","path":"/data/m"}]"#;
    let answer = cluster.ask(Method::PATCH, &path, &kind, small).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.text().contains("operation '/1' failed"), "{}", answer.text());
    let fits = r#"[{"op":"copy","from":"/data/k","path":"/data/l"}]"#;
    assert_eq!(cluster.ask(Method::PATCH, &path, &kind, fits).await.status, 200);
}

#[tokio::test]
async fn wrong_tokens_and_nobody() {
    let cluster = Cluster::start().await;
    for token in ["Bearer nonsense", "Bearer ", "Basic YTpi", "Bearer a.b.c"] {
        let answer = cluster.send(None, request(Method::GET, "/api/v1/pods", &[("authorization", token)], "")).await;
        assert_eq!((answer.status.as_u16(), answer.message().as_str()), (401, "Unauthorized"), "{token}");
    }
    let answer = cluster.send(None, request(Method::GET, "/api/v1/pods", &[], "")).await;
    assert_eq!(answer.status, 403);
    assert_eq!(
        answer.message(),
        r#"pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" at the cluster scope"#
    );
    for (path, status) in [("/healthz", 200), ("/livez", 200), ("/readyz", 200), ("/version", 200), ("/api", 403)] {
        let answer = cluster.send(None, request(Method::GET, path, &[], "")).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn paths_methods_and_media_types() {
    let cluster = Cluster::start().await;
    /// Method, path, headers, body, status.
    type Row = (Method, &'static str, &'static [(&'static str, &'static str)], &'static str, u16);
    let table: [Row; 16] = [
        (Method::GET, "/nonsense", &[], "", 404),
        (Method::GET, "/api/v2", &[], "", 404),
        (Method::GET, "/apis/nope.io/v1/things", &[], "", 404),
        (Method::GET, "/api/v1/namespaces/default/pods/a%2Fb", &[], "", 404),
        (Method::GET, "/api/v1/namespaces/default/pods/nope", &[], "", 404),
        (Method::POST, "/api/v1/namespaces/nope/configmaps", &[JSON], r#"{"metadata":{"name":"a"}}"#, 404),
        (Method::POST, "/api/v1/namespaces/default/pods/a", &[JSON], "{}", 405),
        (Method::PUT, PODS, &[JSON], "{}", 405),
        (Method::DELETE, "/api/v1/pods", &[], "", 405),
        (Method::POST, CONFIG_MAPS, &[("content-type", "text/plain")], "{}", 415),
        (Method::PATCH, "/api/v1/namespaces/default", &[("content-type", "application/apply-patch+yaml")], "{}", 415),
        (Method::GET, PODS, &[("accept", "text/html")], "", 406),
        (Method::GET, "/api/v1/pods?labelSelector=a%20b", &[], "", 400),
        (Method::GET, "/api/v1/pods?fieldSelector=spec.foo%3Da", &[], "", 400),
        (Method::GET, "/api/v1/pods?continue=nonsense", &[], "", 400),
        (Method::GET, "/api/v1/pods?resourceVersion=x", &[], "", 422),
    ];
    for (method, path, headers, body, status) in table {
        let answer = cluster.ask(method.clone(), path, headers, body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}: {}", answer.text());
        assert_eq!(answer.json()["kind"], "Status", "{method} {path}");
    }
    let answer = cluster.get("/api/v1/pods?fieldSelector=spec.foo%3Da").await;
    assert_eq!(answer.message(), "field label not supported: spec.foo");
    let empty = cluster.ask(Method::POST, CONFIG_MAPS, &[JSON], "").await;
    assert_eq!(empty.status, 400);
    for body in ["null", "[]", "1", "\"a\""] {
        let answer = cluster.ask(Method::POST, CONFIG_MAPS, &[JSON], body).await;
        assert!(matches!(answer.status.as_u16(), 400 | 422), "{body}: {}", answer.text());
    }
}

#[tokio::test]
async fn patches_that_do_not_fit() {
    let cluster = Cluster::start().await;
    let path = format!("{CONFIG_MAPS}/a");
    cluster.post(CONFIG_MAPS, &json!({"metadata": {"name": "a"}, "data": {"k": "v"}})).await;
    let json_patch = ("content-type", "application/json-patch+json");
    let merge = ("content-type", "application/merge-patch+json");
    let strategic = ("content-type", "application/strategic-merge-patch+json");
    let table = [
        (json_patch, r#"[{"op":"test","path":"/data/k","value":"w"}]"#, 422),
        (json_patch, r#"[{"op":"remove","path":"/data/nope"}]"#, 422),
        (json_patch, r#"{"op":"remove"}"#, 400),
        (json_patch, "nonsense", 400),
        (merge, "[]", 400),
        (merge, r#"{"data": {"k": 1}}"#, 400),
        (merge, r#"{"metadata": {"name": "b"}}"#, 400),
        (merge, r#"{"metadata": {"resourceVersion": "1"}}"#, 409),
        (merge, r#"{"metadata": {"uid": "x"}}"#, 409),
        (strategic, "[]", 400),
        (strategic, r#"{"data": {"bad key": "v"}}"#, 422),
    ];
    for (kind, body, status) in table {
        let answer = cluster.ask(Method::PATCH, &path, &[kind], body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.text());
    }
    let unchanged: Value = cluster.get(&path).await.json();
    assert_eq!(unchanged["data"], json!({"k": "v"}));
}
