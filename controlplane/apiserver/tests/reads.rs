//! Reads over HTTP: forms of answer, tables, pages, watches, discovery.

mod support;

use base64::Engine;
use coracle_proto::schema::{self, protobuf};
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::time::Duration;
use support::{Cluster, deployment, pod, request};

const PODS: &str = "/api/v1/namespaces/default/pods";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const TABLE: (&str, &str) = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
const PROTOBUF: (&str, &str) = ("accept", "application/vnd.kubernetes.protobuf,application/json");
const ADMIN: Option<(&str, &[&str])> = Some(("admin", &["system:masters"]));

async fn with_config_maps(count: usize) -> Cluster {
    let cluster = Cluster::start().await;
    for n in 0..count {
        let body =
            json!({"metadata": {"name": format!("c{n:02}"), "labels": {"n": n.to_string()}}, "data": {"k": "v"}});
        assert_eq!(cluster.post(CONFIG_MAPS, &body).await.status, 201);
    }
    cluster
}

#[tokio::test]
async fn every_form_says_the_same() {
    let cluster = with_config_maps(2).await;
    let plain = cluster.get(CONFIG_MAPS).await.json();
    assert_eq!((&plain["kind"], plain["items"].as_array().map(Vec::len)), (&json!("ConfigMapList"), Some(2)));
    let yaml = cluster.ask(Method::GET, CONFIG_MAPS, &[("accept", "application/yaml")], "").await;
    let yaml: Value = serde_norway::from_slice(&yaml.body).expect("YAML");
    assert_eq!(yaml, plain);
    let answer = cluster.ask(Method::GET, CONFIG_MAPS, &[PROTOBUF], "").await;
    assert_eq!(answer.headers["content-type"], "application/vnd.kubernetes.protobuf");
    let list = protobuf::decode(&answer.body, None).expect("protobuf").tree;
    assert_eq!(list["items"][1]["data"], json!({"k": "v"}));
    assert_eq!(list["metadata"]["resourceVersion"], plain["metadata"]["resourceVersion"]);
    let one = cluster.ask(Method::GET, &format!("{CONFIG_MAPS}/c00"), &[PROTOBUF], "").await;
    assert_eq!(protobuf::decode(&one.body, None).expect("protobuf").tree["metadata"]["name"], "c00");
    let missing = cluster.ask(Method::GET, &format!("{CONFIG_MAPS}/nope"), &[PROTOBUF], "").await;
    assert_eq!(missing.status, 404);
    let status = protobuf::decode(&missing.body, None).expect("protobuf").tree;
    assert_eq!(status["message"], r#"configmaps "nope" not found"#);
    let accept = ("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io");
    let partial = cluster.ask(Method::GET, CONFIG_MAPS, &[accept], "").await.json();
    assert_eq!(partial["items"][0]["kind"], "PartialObjectMetadata");
    assert!(partial["items"][0].get("data").is_none());
}

#[tokio::test]
async fn protobuf_bodies_create_objects() {
    let cluster = Cluster::start().await;
    let ty = schema::of_kind("", "v1", "Pod").expect("in the table");
    let body = protobuf::encode(ty, "v1", "Pod", &pod("a")).expect("protobuf");
    let kind = ("content-type", "application/vnd.kubernetes.protobuf");
    let answer = cluster.ask(Method::POST, PODS, &[kind], body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.json()["spec"]["containers"][0]["image"], "demo:v1");
}

#[tokio::test]
async fn tables_have_upstreams_columns() {
    let cluster = Cluster::start().await;
    cluster.post(PODS, &pod("a")).await;
    cluster.post("/apis/apps/v1/namespaces/default/deployments", &deployment("d")).await;
    let headers = |table: &Value, wide: bool| -> Vec<String> {
        let columns = table["columnDefinitions"].as_array().expect("columns");
        let shown = columns.iter().filter(|c| wide || c["priority"] == 0);
        shown.map(|c| c["name"].as_str().expect("a name").to_uppercase()).collect()
    };
    let pods = cluster.ask(Method::GET, PODS, &[TABLE], "").await.json();
    assert_eq!(headers(&pods, false), ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
    assert_eq!(headers(&pods, true)[5..], ["IP", "NODE", "NOMINATED NODE", "READINESS GATES"]);
    let row = &pods["rows"][0];
    assert_eq!(row["cells"].as_array().expect("cells")[..4], [json!("a"), json!("0/1"), json!("Pending"), json!("0")]);
    assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
    let path = "/apis/apps/v1/namespaces/default/deployments/d?includeObject=Object";
    let one = cluster.ask(Method::GET, path, &[TABLE], "").await.json();
    assert_eq!(
        headers(&one, true),
        ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"]
    );
    assert_eq!(one["rows"][0]["cells"][1], "0/2");
    assert_eq!(one["rows"][0]["object"]["spec"]["replicas"], 2);
    for path in ["nodes", "services", "endpoints", "secrets", "serviceaccounts", "events", "namespaces", "configmaps"] {
        let table = cluster.ask(Method::GET, &format!("/api/v1/{path}"), &[TABLE], "").await.json();
        let columns = headers(&table, true).len();
        for row in table["rows"].as_array().expect("rows") {
            assert_eq!(row["cells"].as_array().map(Vec::len), Some(columns), "{path}");
        }
    }
}

#[tokio::test]
async fn pages_are_of_one_revision_and_old_ones_expire() {
    let cluster = with_config_maps(5).await;
    let first = cluster.get(&format!("{CONFIG_MAPS}?limit=2")).await.json();
    let token = first["metadata"]["continue"].as_str().expect("a token");
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    cluster.ask(Method::DELETE, &format!("{CONFIG_MAPS}/c04"), &[], "").await;
    let rest = cluster.get(&format!("{CONFIG_MAPS}?limit=9&continue={token}")).await.json();
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(3), "as it was");
    assert_eq!(rest["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let old = json!({"v": "meta.k8s.io/v1", "rv": 0, "start": "configmaps/default/a"}).to_string();
    let old = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(old);
    let elsewhere = json!({"v": "meta.k8s.io/v1", "rv": 1, "start": "secrets/default/a"}).to_string();
    let elsewhere = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(elsewhere);
    for token in [old, elsewhere] {
        let answer = cluster.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await;
        assert!(answer.status.is_client_error(), "{}", answer.text());
    }
    let future = cluster.get(&format!("{CONFIG_MAPS}?resourceVersion=999999999&resourceVersionMatch=Exact")).await;
    assert_eq!(future.status, 504, "{}", future.text());
}

/// The next line of a watch.
async fn event(body: &mut hyper::body::Incoming, rest: &mut Vec<u8>) -> Option<Value> {
    loop {
        if let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            return Some(serde_json::from_slice(&line).expect("a line of JSON"));
        }
        let frame = tokio::time::timeout(Duration::from_secs(10), body.frame()).await.expect("in time")?;
        rest.extend_from_slice(frame.ok()?.data_ref()?);
    }
}

#[tokio::test]
async fn watches_stream_from_any_kept_revision() {
    let cluster = with_config_maps(2).await;
    let list = cluster.get(CONFIG_MAPS).await.json();
    let revision = list["metadata"]["resourceVersion"].as_str().expect("a revision");
    let path = format!("{CONFIG_MAPS}?watch=true&resourceVersion={revision}");
    let mut body = cluster.open(ADMIN, request(Method::GET, &path, &[], "")).await.into_body();
    cluster.post(CONFIG_MAPS, &json!({"metadata": {"name": "new"}})).await;
    cluster.ask(Method::DELETE, &format!("{CONFIG_MAPS}/c00"), &[], "").await;
    let mut rest = Vec::new();
    let added = event(&mut body, &mut rest).await.expect("an event");
    assert_eq!((&added["type"], &added["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("new")));
    let deleted = event(&mut body, &mut rest).await.expect("an event");
    assert_eq!((&deleted["type"], &deleted["object"]["metadata"]["name"]), (&json!("DELETED"), &json!("c00")));
    let before: u64 =
        added["object"]["metadata"]["resourceVersion"].as_str().expect("a revision").parse().expect("a number");
    let after: u64 =
        deleted["object"]["metadata"]["resourceVersion"].as_str().expect("a revision").parse().expect("a number");
    assert_eq!(after, before + 1);
}

#[tokio::test]
async fn a_watch_may_begin_with_the_state_and_mark_its_end() {
    let cluster = with_config_maps(2).await;
    let path = format!(
        "{CONFIG_MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let mut body = cluster.open(ADMIN, request(Method::GET, &path, &[], "")).await.into_body();
    let mut rest = Vec::new();
    for _ in 0..2 {
        assert_eq!(event(&mut body, &mut rest).await.expect("an event")["type"], "ADDED");
    }
    let mark = event(&mut body, &mut rest).await.expect("an event");
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(mark["object"]["kind"], "ConfigMap");
    // In the old form nothing but the objects comes first.
    let path = format!("{CONFIG_MAPS}?watch=true&timeoutSeconds=1&allowWatchBookmarks=true");
    let mut body = cluster.open(ADMIN, request(Method::GET, &path, &[], "")).await.into_body();
    let mut rest = Vec::new();
    let mut types = Vec::new();
    while let Some(event) = event(&mut body, &mut rest).await {
        types.push(event["type"].as_str().unwrap_or_default().to_owned());
    }
    assert_eq!(types, ["ADDED", "ADDED"], "and the timeout ends it");
}

#[tokio::test]
async fn watches_come_as_tables_and_protobuf_too() {
    let cluster = with_config_maps(2).await;
    let path = format!("{CONFIG_MAPS}?watch=true");
    let mut body = cluster.open(ADMIN, request(Method::GET, &path, &[TABLE], "")).await.into_body();
    let mut rest = Vec::new();
    let first = event(&mut body, &mut rest).await.expect("an event");
    assert_eq!(first["object"]["kind"], "Table");
    assert_eq!(first["object"]["columnDefinitions"].as_array().map(Vec::len), Some(3));
    let second = event(&mut body, &mut rest).await.expect("an event");
    assert!(second["object"]["columnDefinitions"].is_null());
    assert_eq!(second["object"]["rows"][0]["cells"][0], "c01");

    let response = cluster.open(ADMIN, request(Method::GET, &path, &[PROTOBUF], "")).await;
    assert_eq!(response.headers()["content-type"], "application/vnd.kubernetes.protobuf;stream=watch");
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    let frame = loop {
        if let Some(head) = bytes.first_chunk::<4>() {
            let length = u32::from_be_bytes(*head) as usize;
            if bytes.len() >= 4 + length {
                break bytes[4..4 + length].to_vec();
            }
        }
        let frame = body.frame().await.expect("more").expect("no error");
        bytes.extend_from_slice(frame.data_ref().expect("data"));
    };
    assert!(frame.starts_with(&[0x0a, 5]) && &frame[2..7] == b"ADDED");
    let at = frame.windows(4).position(|w| w == b"k8s\0").expect("an envelope");
    assert_eq!(protobuf::decode(&frame[at..], None).expect("protobuf").tree["metadata"]["name"], "c00");
}

#[tokio::test]
async fn large_answers_are_packed_for_those_who_ask() {
    let cluster = Cluster::start().await;
    let large = json!({"metadata": {"name": "l"}, "data": {"k": "x".repeat(400_000)}});
    cluster.post(CONFIG_MAPS, &large).await;
    let packed = cluster.ask(Method::GET, CONFIG_MAPS, &[("accept-encoding", "gzip")], "").await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert!(packed.body.len() < 10_000);
    let plain = cluster.get(CONFIG_MAPS).await;
    assert!(plain.headers.get("content-encoding").is_none() && plain.body.len() > 400_000);
}

#[tokio::test]
async fn discovery_lists_what_is_served() {
    let cluster = Cluster::start().await;
    let core = cluster.get("/api/v1").await.json();
    let names: Vec<&str> =
        core["resources"].as_array().expect("a list").iter().filter_map(|r| r["name"].as_str()).collect();
    for name in [
        "pods",
        "pods/status",
        "pods/binding",
        "pods/eviction",
        "pods/exec",
        "namespaces/finalize",
        "serviceaccounts/token",
    ] {
        assert!(names.contains(&name), "{name}");
    }
    let accept = ("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json");
    let all = cluster.ask(Method::GET, "/apis", &[accept], "").await;
    assert_eq!(all.headers["content-type"], "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let groups = all.json();
    for group in groups["items"].as_array().expect("a list") {
        let name = group["metadata"]["name"].as_str().expect("a name");
        let version = group["versions"][0]["version"].as_str().expect("a version");
        let single = cluster.get(&format!("/apis/{name}/{version}")).await.json();
        let plain = single["resources"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|r| !r["name"].as_str().unwrap_or_default().contains('/'));
        assert_eq!(plain.count(), group["versions"][0]["resources"].as_array().map_or(0, Vec::len), "{name}");
    }
    assert_eq!(cluster.get("/version").await.json()["minor"], "33");
    assert!(cluster.get("/readyz?verbose").await.text().contains("[+]ping ok"));
    assert_eq!(cluster.get("/openapi/v3").await.status, 200);
    assert!(cluster.get("/openapi/v2").await.json()["definitions"]["io.k8s.api.core.v1.Pod"].is_object());
}

#[tokio::test]
async fn deletes_over_http_answer_as_upstreams() {
    let cluster = with_config_maps(3).await;
    let done = cluster.ask(Method::DELETE, &format!("{CONFIG_MAPS}/c00"), &[], "").await.json();
    assert_eq!(
        (&done["kind"], &done["status"], &done["details"]["name"]),
        (&json!("Status"), &json!("Success"), &json!("c00"))
    );
    let json_type = ("content-type", "application/json");
    let body = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "other"}}).to_string();
    let refused = cluster.ask(Method::DELETE, &format!("{CONFIG_MAPS}/c01"), &[json_type], body).await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    let dry = cluster.ask(Method::DELETE, &format!("{CONFIG_MAPS}/c01?dryRun=All"), &[], "").await;
    assert_eq!(dry.status, 200);
    let wrong = cluster.ask(Method::DELETE, &format!("{CONFIG_MAPS}/c01?propagationPolicy=Maybe"), &[], "").await;
    assert_eq!(wrong.status, 422, "{}", wrong.text());
    let some = cluster.ask(Method::DELETE, &format!("{CONFIG_MAPS}?labelSelector=n%3D1"), &[], "").await;
    assert_eq!(some.json()["items"].as_array().map(Vec::len), Some(1));
    let left = cluster.get(CONFIG_MAPS).await.json();
    assert_eq!(left["items"].as_array().map(Vec::len), Some(1));
}
