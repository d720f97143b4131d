//! What each verb does to the state of the world, through the client that controllers use.

mod support;

use coracle_client::{DeleteOptions, Patch, Propagation, ResourceApi};
use coracle_proto::api::ReadAt;
use coracle_proto::resource::*;
use coracle_proto::selector::{FieldSelector, LabelSelector};
use coracle_proto::status::Reason;
use coracle_proto::{ApiError, ListOptions, ObjectKey, Resource, Tree, WatchEvent, meta};
use futures::StreamExt;
use serde_json::{Value, json};
use std::sync::Arc;
use support::{admin, bound_pod, deployment, pod, registry};

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}})
}

async fn create(api: &Arc<dyn ResourceApi>, resource: &Resource, body: Value) -> Result<Tree, ApiError> {
    api.create(resource, &key(""), "", body).await?.tree()
}

async fn get(api: &Arc<dyn ResourceApi>, resource: &Resource, name: &str) -> Result<Tree, ApiError> {
    api.get(resource, &key(name)).await?.tree()
}

#[tokio::test]
async fn create_stamps_what_only_the_server_may_say() {
    let registry = registry().await;
    let api = admin(&registry);
    let mut body = pod("a");
    body["metadata"]["uid"] = "mine".into();
    body["metadata"]["creationTimestamp"] = "2001-01-01T00:00:00Z".into();
    body["metadata"]["deletionTimestamp"] = "2001-01-01T00:00:00Z".into();
    body["metadata"]["resourceVersion"] = "".into();
    body["status"] = json!({"phase": "Running"});
    let made = create(&api, &PODS, body).await.expect("created");
    assert_eq!(meta::uid(&made).len(), 36);
    assert_ne!(made["metadata"]["creationTimestamp"], "2001-01-01T00:00:00Z");
    assert!(!meta::is_deleting(&made));
    assert!(meta::revision(&made) > 0);
    assert_eq!(meta::generation(&made), 1);
    assert_eq!(made["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    assert_eq!(made["spec"]["tolerations"].as_array().map(Vec::len), Some(2));
    let again = create(&api, &PODS, pod("a")).await.expect_err("there is one");
    assert_eq!((again.reason, again.message.as_str()), (Reason::AlreadyExists, r#"pods "a" already exists"#));
}

#[tokio::test]
async fn generated_names_are_unique_and_valid() {
    let registry = registry().await;
    let api = admin(&registry);
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "web-"}});
        let made = create(&api, &CONFIG_MAPS, body).await.expect("created");
        let name = meta::name(&made).to_owned();
        assert!(name.starts_with("web-") && name.len() == 9, "{name}");
        assert!(names.insert(name));
    }
}

#[tokio::test]
async fn updates_are_optimistic() {
    let registry = registry().await;
    let api = admin(&registry);
    let first = create(&api, &CONFIG_MAPS, config_map("a")).await.expect("created");
    let mut second = first.clone();
    second["data"]["k"] = "w".into();
    let stored = api.update(&CONFIG_MAPS, &key("a"), "", second.clone()).await.expect("updated");
    assert!(stored.revision > meta::revision(&first));
    let stale = api.update(&CONFIG_MAPS, &key("a"), "", second).await.expect_err("stale");
    assert_eq!(stale.reason, Reason::Conflict);
    assert_eq!(
        stale.message,
        r#"Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again"#
    );
    // Without a version the last word counts.
    api.update(&CONFIG_MAPS, &key("a"), "", config_map("a")).await.expect("unconditional");
    // The same again changes nothing.
    let before = api.get(&CONFIG_MAPS, &key("a")).await.expect("there").revision;
    let same = api.update(&CONFIG_MAPS, &key("a"), "", config_map("a")).await.expect("no change");
    assert_eq!(same.revision, before);
    let missing = api.update(&CONFIG_MAPS, &key("b"), "", config_map("b")).await.expect_err("not there");
    assert_eq!(missing.message, r#"configmaps "b" not found"#);
}

#[tokio::test]
async fn only_some_kinds_are_made_by_an_update() {
    let registry = registry().await;
    let api = admin(&registry);
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}});
    api.update(&LEASES, &key("l"), "", lease).await.expect("made by the update");
    assert!(api.get(&LEASES, &key("l")).await.is_ok());
}

#[tokio::test]
async fn the_generation_counts_changes_of_spec_only() {
    let registry = registry().await;
    let api = admin(&registry);
    let mut object = create(&api, &DEPLOYMENTS, deployment("a")).await.expect("created");
    assert_eq!(meta::generation(&object), 1);
    object["metadata"]["labels"] = json!({"x": "y"});
    object = api.update(&DEPLOYMENTS, &key("a"), "", object).await.expect("labelled").tree().expect("JSON");
    assert_eq!(meta::generation(&object), 1);
    object["spec"]["replicas"] = 5.into();
    object["status"] = json!({"replicas": 7});
    object = api.update(&DEPLOYMENTS, &key("a"), "", object).await.expect("scaled").tree().expect("JSON");
    assert_eq!(meta::generation(&object), 2);
    assert_eq!(object["status"], json!({}), "the main resource does not write status");
    object["status"] = json!({"replicas": 5, "observedGeneration": 2});
    object["spec"]["replicas"] = 9.into();
    object = api.update(&DEPLOYMENTS, &key("a"), "status", object).await.expect("status").tree().expect("JSON");
    assert_eq!((meta::generation(&object), &object["spec"]["replicas"]), (2, &json!(5)));
    assert_eq!(object["status"]["replicas"], 5);
}

#[tokio::test]
async fn all_three_patches() {
    let registry = registry().await;
    let api = admin(&registry);
    create(&api, &DEPLOYMENTS, deployment("a")).await.expect("created");
    let name = key("a");
    let kind = DEPLOYMENTS;
    let patch = |patch: Patch| api.patch(&kind, &name, "", patch);
    let strategic = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "demo:v2"}, {"name": "d", "image": "d:1"}]}}}});
    let object = patch(Patch::Strategic(strategic)).await.expect("merged by name").tree().expect("JSON");
    let containers = object["spec"]["template"]["spec"]["containers"].as_array().expect("a list").clone();
    assert_eq!(containers.len(), 2);
    assert!(containers.iter().any(|c| c["name"] == "c" && c["image"] == "demo:v2"));
    let merge = json!({"spec": {"template": {"spec": {"containers": [{"name": "e", "image": "e:1"}]}}}});
    let object = patch(Patch::Merge(merge)).await.expect("replaced").tree().expect("JSON");
    assert_eq!(object["spec"]["template"]["spec"]["containers"].as_array().map(Vec::len), Some(1));
    let operations = json!([{"op": "replace", "path": "/spec/replicas", "value": 9}]);
    let object = patch(Patch::Json(operations)).await.expect("replaced").tree().expect("JSON");
    assert_eq!(object["spec"]["replicas"], 9);
}

/// Writers that do not name a version all get through: a patch is tried again on what the others left.
#[tokio::test]
async fn concurrent_patches_all_land() {
    let registry = registry().await;
    let api = admin(&registry);
    create(&api, &CONFIG_MAPS, config_map("a")).await.expect("created");
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..4 {
        let api = api.clone();
        tasks.spawn(async move {
            for step in 0..10 {
                let patch = Patch::Merge(json!({"data": {format!("k{n}"): step.to_string()}}));
                api.patch(&CONFIG_MAPS, &ObjectKey::new("default", "a"), "", patch).await.expect("patched");
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a writer");
    }
    let object = get(&api, &CONFIG_MAPS, "a").await.expect("there");
    assert_eq!(object["data"], json!({"k": "v", "k0": "9", "k1": "9", "k2": "9", "k3": "9"}));
}

#[tokio::test]
async fn lists_select_and_page_at_one_revision() {
    let registry = registry().await;
    let api = admin(&registry);
    for n in 0..10 {
        let mut body = config_map(&format!("c{n}"));
        body["metadata"]["labels"] = json!({"half": if n < 5 { "low" } else { "high" }});
        create(&api, &CONFIG_MAPS, body).await.expect("created");
    }
    let base = ListOptions { namespace: "default".into(), ..ListOptions::default() };
    let low = ListOptions { labels: LabelSelector::parse("half=low").expect("a selector"), ..base.clone() };
    assert_eq!(api.list(&CONFIG_MAPS, &low).await.expect("a list").items.len(), 5);
    let one = ListOptions { fields: FieldSelector::one("metadata.name", "c3"), ..base.clone() };
    assert_eq!(api.list(&CONFIG_MAPS, &one).await.expect("a list").items.len(), 1);
    let paged = ListOptions { limit: Some(4), ..base.clone() };
    let first = api.list(&CONFIG_MAPS, &paged).await.expect("a page");
    assert_eq!((first.items.len(), first.remaining), (4, Some(6)));
    // What changes in between is not seen.
    api.delete(&CONFIG_MAPS, &key("c9"), &DeleteOptions::default()).await.expect("deleted");
    create(&api, &CONFIG_MAPS, config_map("c99")).await.expect("created");
    let next = ListOptions { continue_token: first.continue_token.clone(), ..paged.clone() };
    let second = api.list(&CONFIG_MAPS, &next).await.expect("a page");
    let last = ListOptions { continue_token: second.continue_token.clone(), ..paged };
    let third = api.list(&CONFIG_MAPS, &last).await.expect("a page");
    assert_eq!((second.items.len(), third.items.len(), third.continue_token), (4, 2, None));
    assert_eq!((second.revision, third.revision), (first.revision, first.revision));
    let exact = ListOptions { at: ReadAt::Exact(first.revision), ..base };
    assert_eq!(api.list(&CONFIG_MAPS, &exact).await.expect("the past").items.len(), 10);
}

#[tokio::test]
async fn a_watch_sees_every_change_as_its_selector_does() {
    let registry = registry().await;
    let api = admin(&registry);
    let red = ListOptions {
        namespace: "default".into(),
        labels: LabelSelector::parse("colour=red").expect("a selector"),
        ..ListOptions::default()
    };
    let mut watch = api.watch(&CONFIG_MAPS, &red, None).await.expect("a watch");
    assert!(matches!(watch.next().await, Some(Ok(WatchEvent::Bookmark(_)))), "nothing is there yet");
    let colour = |c: &str| {
        let mut body = config_map("a");
        body["metadata"]["labels"] = json!({"colour": c});
        body
    };
    create(&api, &CONFIG_MAPS, colour("blue")).await.expect("created");
    api.update(&CONFIG_MAPS, &key("a"), "", colour("red")).await.expect("red");
    let mut changed = colour("red");
    changed["data"]["k"] = "w".into();
    api.update(&CONFIG_MAPS, &key("a"), "", changed).await.expect("changed");
    let left = api.update(&CONFIG_MAPS, &key("a"), "", colour("green")).await.expect("green").revision;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        match watch.next().await.expect("the watch goes on").expect("no error") {
            WatchEvent::Added(o) => seen.push(("added", o.revision)),
            WatchEvent::Modified(o) => seen.push(("modified", o.revision)),
            WatchEvent::Deleted(o) => {
                let tree = o.tree().expect("JSON");
                assert_eq!(meta::label(&tree, "colour"), Some("red"), "the last state that matched");
                assert_eq!(meta::revision(&tree), left, "at the revision it left");
                seen.push(("deleted", o.revision));
            }
            WatchEvent::Bookmark(_) => {}
        }
    }
    assert_eq!(seen.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), ["added", "modified", "deleted"]);
    assert!(seen.is_sorted_by_key(|(_, revision)| *revision));
}

#[tokio::test]
async fn deleting_respects_grace_finalizers_and_preconditions() {
    let registry = registry().await;
    let api = admin(&registry);
    create(&api, &PODS, pod("unscheduled")).await.expect("created");
    api.delete(&PODS, &key("unscheduled"), &DeleteOptions::default()).await.expect("deleted");
    assert!(get(&api, &PODS, "unscheduled").await.expect_err("at once").is_not_found());

    let bound = bound_pod(&registry, "bound", "n").await;
    assert_eq!(bound["spec"]["nodeName"], "n");
    api.delete(&PODS, &key("bound"), &DeleteOptions::default()).await.expect("marked");
    let marked = get(&api, &PODS, "bound").await.expect("still there");
    assert!(meta::is_deleting(&marked));
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    let other = DeleteOptions { uid: Some("other".into()), ..DeleteOptions::default() };
    assert_eq!(api.delete(&PODS, &key("bound"), &other).await.expect_err("uid").reason, Reason::Conflict);
    let now = DeleteOptions {
        grace_period_seconds: Some(0),
        uid: Some(meta::uid(&bound).into()),
        ..DeleteOptions::default()
    };
    api.delete(&PODS, &key("bound"), &now).await.expect("deleted");
    assert!(get(&api, &PODS, "bound").await.is_err());

    let mut held = config_map("held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    create(&api, &CONFIG_MAPS, held).await.expect("created");
    api.delete(&CONFIG_MAPS, &key("held"), &DeleteOptions::default()).await.expect("marked");
    let mut held = get(&api, &CONFIG_MAPS, "held").await.expect("held");
    assert!(meta::is_deleting(&held));
    held["metadata"]["finalizers"] = json!([]);
    api.update(&CONFIG_MAPS, &key("held"), "", held).await.expect("released");
    assert!(get(&api, &CONFIG_MAPS, "held").await.is_err(), "gone with its last finalizer");

    create(&api, &DEPLOYMENTS, deployment("d")).await.expect("created");
    let orphan = DeleteOptions { propagation: Some(Propagation::Orphan), ..DeleteOptions::default() };
    api.delete(&DEPLOYMENTS, &key("d"), &orphan).await.expect("marked");
    let object = get(&api, &DEPLOYMENTS, "d").await.expect("until the collector has seen to its pods");
    assert_eq!(meta::finalizers(&object).collect::<Vec<_>>(), ["orphan"]);
}

#[tokio::test]
async fn namespaces_end_in_order() {
    let registry = registry().await;
    let api = admin(&registry);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
    let made = api.create(&NAMESPACES, &ObjectKey::default(), "", namespace).await.expect("created");
    let made = made.tree().expect("JSON");
    assert_eq!(made["spec"]["finalizers"], json!(["kubernetes"]));
    assert_eq!(made["status"]["phase"], "Active");
    assert_eq!(meta::label(&made, "kubernetes.io/metadata.name"), Some("n"));
    let name = ObjectKey::cluster("n");
    api.delete(&NAMESPACES, &name, &DeleteOptions::default()).await.expect("marked");
    let going = api.get(&NAMESPACES, &name).await.expect("there").tree().expect("JSON");
    assert_eq!(going["status"]["phase"], "Terminating");
    let refused = api.create(&CONFIG_MAPS, &ObjectKey::new("n", ""), "", config_map("late")).await;
    let refused = refused.expect_err("terminating");
    assert_eq!(refused.reason, Reason::Forbidden);
    assert_eq!(
        refused.message,
        r#"configmaps "late" is forbidden: unable to create new content in namespace n because it is being terminated"#
    );
    let mut empty = going;
    empty["spec"]["finalizers"] = json!([]);
    api.update(&NAMESPACES, &name, "finalize", empty).await.expect("finalized");
    assert!(api.get(&NAMESPACES, &name).await.expect_err("gone").is_not_found());
    let refused = api.create(&CONFIG_MAPS, &ObjectKey::new("n", ""), "", config_map("late")).await;
    assert_eq!(refused.expect_err("no namespace").message, r#"namespaces "n" not found"#);
    for name in ["default", "kube-system"] {
        let error = api.delete(&NAMESPACES, &ObjectKey::cluster(name), &DeleteOptions::default()).await;
        assert_eq!(error.expect_err("immortal").reason, Reason::Forbidden);
    }
}

#[tokio::test]
async fn services_get_addresses_that_nobody_else_has() {
    let registry = registry().await;
    let api = admin(&registry);
    let service = |name: &str, spec: Value| {
        let mut body = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"ports": [{"port": 80}], "selector": {"app": "a"}}});
        body["spec"].as_object_mut().expect("a spec").extend(spec.as_object().cloned().unwrap_or_default());
        body
    };
    // A /24 without its ends, and one address is the Service kubernetes.
    let mut seen = std::collections::BTreeSet::from(["10.96.0.1".to_owned()]);
    for n in 0..253 {
        let made = create(&api, &SERVICES, service(&format!("s{n}"), json!({}))).await.expect("an address");
        assert!(seen.insert(made["spec"]["clusterIP"].as_str().expect("an address").to_owned()));
    }
    let full = create(&api, &SERVICES, service("full", json!({}))).await.expect_err("no address is left");
    assert!(full.message.contains("range is full"), "{}", full.message);
    api.delete(&SERVICES, &key("s7"), &DeleteOptions::default()).await.expect("deleted");
    let again =
        create(&api, &SERVICES, service("again", json!({"type": "NodePort"}))).await.expect("the freed address");
    let port = again["spec"]["ports"][0]["nodePort"].as_i64().expect("a node port");
    assert!((30000..=32767).contains(&port));
    let headless =
        create(&api, &SERVICES, service("headless", json!({"clusterIP": "None"}))).await.expect("none needed");
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
    let external = json!({"type": "ExternalName", "externalName": "example.com"});
    create(&api, &SERVICES, service("external", external)).await.expect("none needed");
    api.delete(&SERVICES, &key("s8"), &DeleteOptions::default()).await.expect("deleted");
    let taken = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]});
    let error = create(&api, &SERVICES, service("taken", taken)).await.expect_err("taken");
    let wanted = format!("spec.ports[0].nodePort: Invalid value: {port}: provided port is already allocated");
    assert!(error.message.contains(&wanted), "{}", error.message);
    let outside = create(&api, &SERVICES, service("out", json!({"clusterIP": "10.1.2.3"}))).await.expect_err("outside");
    assert!(outside.message.contains("not in the valid range"), "{}", outside.message);
    // An update that leaves the address out keeps it; one that changes it is refused.
    let kept = api.update(&SERVICES, &key("again"), "", service("again", json!({"type": "NodePort"}))).await;
    let kept = kept.expect("updated").tree().expect("JSON");
    assert_eq!(kept["spec"]["clusterIP"], again["spec"]["clusterIP"]);
    assert_eq!(kept["spec"]["ports"][0]["nodePort"], port);
    let moved = service("again", json!({"clusterIP": "10.96.0.99", "type": "NodePort"}));
    let error = api.update(&SERVICES, &key("again"), "", moved).await.expect_err("immutable");
    assert!(error.message.contains("may not change once set"), "{}", error.message);
    // As a ClusterIP again it gives its port back.
    let mut plain = kept.clone();
    plain["spec"]["type"] = "ClusterIP".into();
    plain["spec"]["ports"] = json!([{"port": 80}]);
    plain["spec"].as_object_mut().expect("a spec").remove("externalTrafficPolicy");
    api.update(&SERVICES, &key("again"), "", plain).await.expect("updated");
    let taken = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]});
    create(&api, &SERVICES, service("taken", taken)).await.expect("the freed port");
}

#[tokio::test]
async fn scale_has_preconditions() {
    let registry = registry().await;
    let api = admin(&registry);
    let made = create(&api, &DEPLOYMENTS, deployment("a")).await.expect("created");
    let scale = |replicas: i64, version: &str| json!({"metadata": {"name": "a", "namespace": "default", "resourceVersion": version}, "spec": {"replicas": replicas}});
    let version = meta::revision(&made).to_string();
    let scaled = api.update(&DEPLOYMENTS, &key("a"), "scale", scale(5, &version)).await.expect("scaled");
    let scaled = scaled.tree().expect("JSON");
    assert_eq!((&scaled["kind"], &scaled["spec"]["replicas"]), (&json!("Scale"), &json!(5)));
    assert_eq!(scaled["status"]["selector"], "app=a");
    let stale = api.update(&DEPLOYMENTS, &key("a"), "scale", scale(6, &version)).await.expect_err("stale");
    assert_eq!(stale.reason, Reason::Conflict);
    let negative = api.patch(&DEPLOYMENTS, &key("a"), "scale", Patch::Merge(json!({"spec": {"replicas": -1}}))).await;
    assert_eq!(negative.expect_err("negative").reason, Reason::Invalid);
    api.patch(&DEPLOYMENTS, &key("a"), "scale", Patch::Merge(json!({"spec": {"replicas": 7}}))).await.expect("scaled");
    assert_eq!(get(&api, &DEPLOYMENTS, "a").await.expect("there")["spec"]["replicas"], 7);
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let registry = registry().await;
    let api = admin(&registry);
    bound_pod(&registry, "a", "n1").await;
    let binding = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n2"}});
    let again = api.create(&PODS, &key("a"), "binding", binding).await.expect_err("bound");
    assert!(again.message.contains(r#"pod a is already assigned to node "n1""#), "{}", again.message);
    let object = get(&api, &PODS, "a").await.expect("there");
    assert_eq!(object["status"]["conditions"][0]["type"], "PodScheduled");
}

#[tokio::test]
async fn one_storage_serves_both_event_apis() {
    let registry = registry().await;
    let api = admin(&registry);
    let event = json!({
        "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Started", "message": "it runs", "type": "Normal", "action": "Starting",
        "reportingComponent": "agent", "reportingInstance": "n", "eventTime": "2026-01-01T00:00:00.000000Z",
    });
    create(&api, &EVENTS, event).await.expect("created");
    let served = get(&api, &EVENTS_V1, "e").await.expect("the other form");
    assert_eq!((&served["note"], &served["apiVersion"]), (&json!("it runs"), &json!("events.k8s.io/v1")));
    assert_eq!(served["regarding"]["name"], "p");
    let selected = ListOptions {
        namespace: "default".into(),
        fields: FieldSelector::one("involvedObject.name", "p"),
        ..ListOptions::default()
    };
    assert_eq!(api.list(&EVENTS, &selected).await.expect("a list").items.len(), 1);
    let patch = Patch::Merge(json!({"deprecatedCount": 4}));
    api.patch(&EVENTS_V1, &key("e"), "", patch).await.expect("patched");
    assert_eq!(get(&api, &EVENTS, "e").await.expect("there")["count"], 4);
}

#[tokio::test]
async fn pods_need_their_service_account() {
    let registry = registry().await;
    let api = admin(&registry);
    let mut body = pod("a");
    body["spec"]["serviceAccountName"] = "nope".into();
    let error = create(&api, &PODS, body).await.expect_err("no account");
    assert_eq!(
        error.message,
        r#"pods "a" is forbidden: error looking up service account default/nope: serviceaccount "nope" not found"#
    );
    let made = create(&api, &PODS, pod("b")).await.expect("created");
    let mount = &made["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(made["spec"]["volumes"][0]["name"], mount["name"]);
}

#[tokio::test]
async fn events_expire_an_hour_after_they_were_last_seen() {
    let registry = registry().await;
    let api = admin(&registry);
    let now = jiff::Timestamp::now();
    let later = now + jiff::SignedDuration::from_hours(2);
    let event = |name: &str, last: jiff::Timestamp| {
        json!({"metadata": {"name": name}, "involvedObject": {"kind": "Pod", "namespace": "default"},
            "lastTimestamp": coracle_proto::time::render(last)})
    };
    create(&api, &EVENTS, event("silent", now)).await.expect("created");
    create(&api, &EVENTS, event("counted-up", later)).await.expect("created");
    assert_eq!(coracle_apiserver::sweep_events(&*api, now).await.expect("swept"), 0);
    assert_eq!(coracle_apiserver::sweep_events(&*api, later).await.expect("swept"), 1);
    assert!(get(&api, &EVENTS, "silent").await.is_err());
    assert!(get(&api, &EVENTS, "counted-up").await.is_ok());
}
