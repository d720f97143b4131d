//! A cluster that has every image the manifests name, and what several tests ask it.

use coracle_tests::{Cluster, Kubectl, Need, WebImage, can_run, eventually, web_archive};
use serde_json::Value;

const fn image(name: &'static str, version: &'static str, port: u16) -> WebImage {
    WebImage { name, version, port }
}

/// The ports are those that the manifests' probes and Services ask.
const IMAGES: &[WebImage] = &[
    image("netflix/recommendation-service:v1.2.3", "v1.2.3", 8080),
    image("netflix/recommendation-service:v1.3.0", "v1.3.0", 8080),
    image("user-service:1.0.0", "1.0.0", 8080),
    image("user-service:2.0.0", "2.0.0", 8080),
    image("myapp:v1.0", "v1.0", 80),
    image("myapp:v2.0", "v2.0", 80),
    image("myapp:1.0", "1.0", 8080),
    image("nginx:1.25", "1.25", 80),
    image("nginx:1.26", "1.26", 80),
    image("fluent/fluent-bit:2.0", "2.0", 2020),
    image("app:migrate", "migrate", 8080),
    image("app:latest", "latest", 8080),
    image("api-service:v1.2.3", "v1.2.3", 8080),
    image("api-service:v1.2.4", "v1.2.4", 8080),
    // Here the manifests give the version themselves.
    image("myregistry.com/myapp:v1.2.3", "unset", 8080),
    image("myregistry.com/myapp:v1.3.0", "unset", 8080),
];

pub struct Ground {
    pub kubectl: Kubectl,
    _cluster: Cluster,
}

/// A cluster of its own with all images and these namespaces, unless this machine cannot have one.
pub fn ground(namespaces: &[&str]) -> Option<Ground> {
    if !can_run(&[Need::Root, Need::Kubectl, Need::Busybox]) {
        return None;
    }
    let cluster = Cluster::up();
    let archive = web_archive(cluster.scratch(), IMAGES).expect("the archive is written");
    let output = cluster.coracle(&["image", "import", archive.to_str().expect("the path is text")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let kubectl = cluster.kubectl();
    for namespace in namespaces {
        kubectl.ok(&["create", "namespace", namespace]);
    }
    Some(Ground { kubectl, _cluster: cluster })
}

impl Ground {
    /// Whether the whole Deployment is rolled out; waits for it.
    #[track_caller]
    pub fn rolled_out(&self, namespace: &str, deployment: &str) {
        let name = format!("deployment/{deployment}");
        self.kubectl.ok(&["-n", namespace, "rollout", "status", &name, "--timeout=120s"]);
    }

    #[track_caller]
    pub fn ready(&self, namespace: &str, pod: &str) {
        let name = format!("pod/{pod}");
        self.kubectl.ok(&["-n", namespace, "wait", "--for=condition=Ready", &name, "--timeout=60s"]);
    }

    /// One field, by JSON path.
    #[track_caller]
    pub fn field(&self, namespace: &str, object: &str, path: &str) -> String {
        self.kubectl.ok(&["-n", namespace, "get", object, "-o", &format!("jsonpath={{{path}}}")])
    }

    /// `HOST:PORT` of a Service's first port.
    #[track_caller]
    pub fn service(&self, namespace: &str, name: &str) -> String {
        let object = format!("service/{name}");
        let part = |path| self.field(namespace, &object, path);
        format!("{}:{}", part(".spec.clusterIP"), part(".spec.ports[0].port"))
    }

    /// What a command prints in a pod, or in one of a Deployment's.
    #[track_caller]
    pub fn exec(&self, namespace: &str, target: &str, command: &[&str]) -> String {
        self.kubectl.ok(&[&["-n", namespace, "exec", target, "--"], command].concat())
    }

    /// The pods of a label selector.
    #[track_caller]
    pub fn pods(&self, namespace: &str, selector: &str) -> Vec<Value> {
        let list = self.kubectl.json(&["-n", namespace, "get", "pods", "-l", selector]);
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Waits for an event with this reason about an object whose message `test` accepts.
    #[track_caller]
    pub fn told(&self, namespace: &str, reason: &str, test: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("an event {reason}"), || {
            let field = format!("reason={reason}");
            let list = self.kubectl.json(&["-n", namespace, "get", "events", "--field-selector", &field]);
            let events = list["items"].as_array().cloned().unwrap_or_default();
            events.iter().find(|event| test(event)).cloned().ok_or(list)
        })
    }
}

/// Running or not, whether the pod is Ready and is to stay.
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let ready = conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True");
    ready && pod["metadata"]["deletionTimestamp"].is_null()
}
