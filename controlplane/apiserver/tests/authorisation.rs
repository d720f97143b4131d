//! Who may do what, asked of the real registry: nodes, tokens, components, and everybody else.

mod support;

use coracle_apiserver::UserInfo;
use coracle_client::{DeleteOptions, Patch, ResourceApi};
use coracle_proto::resource::*;
use coracle_proto::selector::FieldSelector;
use coracle_proto::status::Reason;
use coracle_proto::{ApiError, ListOptions, ObjectKey};
use http::Method;
use http_body_util::BodyExt;
use serde_json::json;
use support::{Cluster, admin, bound_pod, pod, registry, request};

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

fn refused<T: std::fmt::Debug>(result: Result<T, ApiError>) {
    assert_eq!(result.expect_err("refused").reason, Reason::Forbidden);
}

#[tokio::test]
async fn a_node_sees_its_own_pods_and_what_they_need() {
    let registry = registry().await;
    let api = admin(&registry);
    for name in ["mine", "other"] {
        let secret = json!({"metadata": {"name": name}, "stringData": {"k": "v"}});
        api.create(&SECRETS, &key(""), "", secret).await.expect("a secret");
    }
    let mut needs = pod("needs");
    needs["spec"]["containers"][0]["env"] =
        json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "k"}}}]);
    api.create(&PODS, &key(""), "", needs).await.expect("a pod");
    let binding = json!({"metadata": {"name": "needs"}, "target": {"kind": "Node", "name": "n1"}});
    api.create(&PODS, &key("needs"), "binding", binding).await.expect("bound");
    bound_pod(&registry, "elsewhere", "n2").await;
    let n1 = registry.client(UserInfo::node("n1"));
    let n2 = registry.client(UserInfo::node("n2"));

    assert!(n1.get(&SECRETS, &key("mine")).await.is_ok());
    refused(n1.get(&SECRETS, &key("other")).await);
    refused(n2.get(&SECRETS, &key("mine")).await);
    refused(n1.list(&SECRETS, &ListOptions::default()).await);

    assert!(n1.get(&PODS, &key("needs")).await.is_ok());
    refused(n1.get(&PODS, &key("elsewhere")).await);
    refused(n1.list(&PODS, &ListOptions::default()).await);
    let own = ListOptions { fields: FieldSelector::one("spec.nodeName", "n1"), ..ListOptions::default() };
    assert_eq!(n1.list(&PODS, &own).await.expect("its own").items.len(), 1);
    refused(n2.list(&PODS, &own).await);

    let status = |api: std::sync::Arc<dyn ResourceApi>| async move {
        api.patch(&PODS, &key("needs"), "status", Patch::Merge(json!({"status": {"phase": "Running"}}))).await
    };
    assert!(status(n1.clone()).await.is_ok());
    refused(status(n2.clone()).await);
    refused(n2.delete(&PODS, &key("needs"), &DeleteOptions::default()).await);
    refused(n1.create(&PODS, &key(""), "", pod("own")).await);
    refused(n1.update(&PODS, &key("needs"), "", pod("needs")).await);
}

#[tokio::test]
async fn a_node_writes_about_itself_only() {
    let registry = registry().await;
    let n1 = registry.client(UserInfo::node("n1"));
    let node = |name: &str| json!({"metadata": {"name": name}});
    n1.create(&NODES, &ObjectKey::default(), "", node("n1")).await.expect("itself");
    refused(n1.create(&NODES, &ObjectKey::default(), "", node("n2")).await);
    let status = json!({"metadata": {"name": "n1"}, "status": {"capacity": {"cpu": "4"}}});
    n1.update(&NODES, &ObjectKey::cluster("n1"), "status", status).await.expect("its status");
    refused(n1.delete(&NODES, &ObjectKey::cluster("n1"), &DeleteOptions::default()).await);
    let taints = Patch::Merge(json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}));
    refused(n1.patch(&NODES, &ObjectKey::cluster("n1"), "", taints).await);
    let lease = |name: &str| json!({"metadata": {"name": name}});
    let leases = ObjectKey::new("kube-node-lease", "");
    n1.create(&LEASES, &leases, "", lease("n1")).await.expect("its lease");
    refused(n1.create(&LEASES, &leases, "", lease("n2")).await);
    refused(n1.create(&LEASES, &key(""), "", lease("n1")).await);
    let renewed = json!({"metadata": {"name": "n1"}, "spec": {"holderIdentity": "n1"}});
    n1.update(&LEASES, &ObjectKey::new("kube-node-lease", "n1"), "", renewed).await.expect("renewed");
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "namespace": "default"}});
    n1.create(&EVENTS, &key(""), "", event).await.expect("events");
}

#[tokio::test]
async fn a_slash_in_a_name_reaches_no_other_object() {
    let registry = registry().await;
    bound_pod(&registry, "elsewhere", "n2").await;
    for user in [UserInfo::node("n1"), UserInfo::new("admin", &["system:masters"])] {
        let api = registry.client(user);
        for (namespace, name) in [("", "default/elsewhere"), ("", "elsewhere"), ("default", "."), ("..", "a")] {
            let key = ObjectKey::new(namespace, name);
            let eviction = api.create(&PODS, &key, "eviction", json!({})).await.map(drop);
            let deleted = api.delete(&PODS, &key, &DeleteOptions::default()).await.map(drop);
            for result in [api.get(&PODS, &key).await.map(drop), eviction, deleted] {
                assert_eq!(result.expect_err("refused").reason, Reason::BadRequest, "{key:?}");
            }
        }
    }
    assert!(admin(&registry).get(&PODS, &key("elsewhere")).await.is_ok());
}

#[tokio::test]
async fn a_node_sets_no_labels_that_others_go_by() {
    let registry = registry().await;
    bound_pod(&registry, "a", "n1").await;
    let n1 = registry.client(UserInfo::node("n1"));
    let labelled = |label: &str| json!({"metadata": {"labels": {label: "x"}}});
    let error = n1.patch(&PODS, &key("a"), "status", Patch::Merge(labelled("app"))).await.expect_err("refused");
    assert!(error.message.ends_with("cannot update labels through pod status"), "{}", error.message);
    n1.create(&NODES, &ObjectKey::default(), "", json!({"metadata": {"name": "n1"}})).await.expect("itself");
    for (label, allowed) in [
        ("example.com/a", true),
        ("plain", true),
        ("kubernetes.io/hostname", true),
        ("topology.kubernetes.io/zone", true),
        ("node.kubernetes.io/instance-type", true),
        ("a.kubelet.kubernetes.io/b", true),
        ("notkubernetes.io/a", true),
        ("node-role.kubernetes.io/control-plane", false),
        ("node-restriction.kubernetes.io/a", false),
        ("kubernetes.io/other", false),
        ("topology.kubernetes.io/rack", false),
        ("a.k8s.io/b", false),
    ] {
        let result = n1.patch(&NODES, &ObjectKey::cluster("n1"), "", Patch::Merge(labelled(label))).await;
        assert_eq!(result.is_ok(), allowed, "{label}: {result:?}");
    }
}

#[tokio::test]
async fn impersonation_that_cannot_be_honoured_is_refused() {
    let cluster = Cluster::start().await;
    let user = ("impersonate-user", "bob");
    let table: [(&[(&str, &str)], u16); 8] = [
        (&[user], 403),
        (&[("impersonate-user", "root"), ("impersonate-group", "system:masters")], 200),
        (&[("impersonate-user", "")], 400),
        (&[("impersonate-user", "b\u{f6}b")], 400),
        (&[user, ("impersonate-user", "root")], 400),
        (&[user, ("impersonate-extra-scopes", "view")], 400),
        (&[user, ("impersonate-uid", "1")], 400),
        (&[("impersonate-group", "dev")], 400),
    ];
    for (headers, status) in table {
        let answer = cluster.ask(Method::GET, "/api/v1/nodes", headers, "").await;
        assert_eq!(answer.status.as_u16(), status, "{headers:?}: {}", answer.text());
    }
}

#[tokio::test]
async fn only_nodes_reach_the_node_link() {
    let echo = tower::service_fn(|_: http::Request<hyper::body::Incoming>| async {
        let body = http_body_util::Full::new(bytes::Bytes::from("linked")).map_err(|never| match never {});
        Ok::<_, std::convert::Infallible>(http::Response::new(body.boxed_unsync()))
    });
    let cluster = Cluster::with_grpc(registry().await, Some(tower::util::BoxCloneSyncService::new(echo))).await;
    let call = || request(Method::POST, "/coracle.NodeLink/Call", &[("content-type", "application/grpc")], "");
    type User = Option<(&'static str, &'static [&'static str])>;
    let table: [(User, u16); 4] = [
        (None, 403),
        (Some(("bob", &[])), 403),
        (Some(("system:node:n1", &[])), 403),
        (Some(("system:node:n1", &["system:nodes"])), 200),
    ];
    for (user, status) in table {
        let answer = cluster.send(user, call()).await;
        assert_eq!(answer.status.as_u16(), status, "{user:?}: {}", answer.text());
        assert_eq!(answer.text() == "linked", status == 200);
    }
}

#[tokio::test]
async fn tokens_are_issued_checked_and_end_with_what_they_are_bound_to() {
    let registry = registry().await;
    let api = admin(&registry);
    let bound = bound_pod(&registry, "a", "n1").await;
    let ask = |uid: &str| {
        json!({"spec": {"audiences": [], "expirationSeconds": 3600,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": uid}}})
    };
    let uid = coracle_proto::meta::uid(&bound);
    let n1 = registry.client(UserInfo::node("n1"));
    let n2 = registry.client(UserInfo::node("n2"));
    refused(n2.create(&SERVICE_ACCOUNTS, &key("default"), "token", ask(uid)).await);
    let unbound = n1.create(&SERVICE_ACCOUNTS, &key("default"), "token", json!({"spec": {}})).await;
    assert!(unbound.expect_err("unbound").message.ends_with("node requested token not bound to a pod"));
    let wrong = n1.create(&SERVICE_ACCOUNTS, &key("default"), "token", ask("other")).await;
    assert_eq!(wrong.expect_err("another pod").reason, Reason::Conflict);
    let issued = n1.create(&SERVICE_ACCOUNTS, &key("default"), "token", ask(uid)).await.expect("issued");
    let issued = issued.tree().expect("JSON");
    let token = issued["status"]["token"].as_str().expect("a token").to_owned();
    let user = registry.authenticate_token(&token).expect("a user");
    assert_eq!(user.name, "system:serviceaccount:default:default");
    assert!(user.in_group("system:serviceaccounts:default") && user.in_group("system:authenticated"));
    // Until RBAC comes such a user discovers, and no more.
    refused(registry.client(user).list(&PODS, &ListOptions::default()).await);

    let cluster = Cluster::over(registry.clone()).await;
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    for (path, status) in [("/api", 200), ("/apis/apps/v1", 200), ("/api/v1/pods", 403), ("/metrics", 403)] {
        let answer = cluster.send(None, request(Method::GET, path, &headers, "")).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
    }
    let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    api.delete(&PODS, &key("a"), &now).await.expect("deleted");
    assert!(registry.authenticate_token(&token).is_none(), "the pod is gone");
    let short = json!({"spec": {"expirationSeconds": 5}});
    let error = api.create(&SERVICE_ACCOUNTS, &key("default"), "token", short).await.expect_err("too short");
    assert!(error.message.contains("may not specify a duration less than 10 minutes"), "{}", error.message);
}

#[tokio::test]
async fn access_reviews_answer_as_requests_would() {
    let cluster = Cluster::start().await;
    let ask = async |user: (&str, &[&str]), verb: &str, resource: &str| {
        let body =
            json!({"spec": {"resourceAttributes": {"verb": verb, "resource": resource, "namespace": "default"}}});
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let json = [("content-type", "application/json")];
        let answer = cluster.send(Some(user), request(Method::POST, path, &json, body.to_string())).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["status"]["allowed"].as_bool().expect("an answer")
    };
    assert!(ask(("root", &["system:masters"]), "delete", "nodes").await);
    assert!(!ask(("bob", &[]), "get", "pods").await);
    assert!(ask(("system:kube-scheduler", &[]), "list", "pods").await);
    assert!(!ask(("system:kube-scheduler", &[]), "create", "pods").await);
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let json = [("content-type", "application/json")];
    let answer = cluster.send(Some(("bob", &["dev"])), request(Method::POST, path, &json, "{}")).await;
    assert_eq!(
        answer.json()["status"]["userInfo"],
        json!({"username": "bob", "groups": ["dev", "system:authenticated"]})
    );
}
