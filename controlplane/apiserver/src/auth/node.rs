//! The node authoriser: a node reads what its pods need and writes about itself. Admission then looks at the objects.

use super::{Attributes, Decision};
use crate::admission::references;
use crate::registry::keys;
use crate::resources::pod::Pods;
use crate::validate::text;
use coracle_proto::{ObjectKey, Tree};
use coracle_store::View;

const READ: [&str; 3] = ["get", "list", "watch"];
const LEASE_NAMESPACE: &str = "kube-node-lease";

pub fn decide(node: &str, asked: &Attributes<'_>, view: &dyn View) -> Decision {
    let read = READ.contains(&asked.verb);
    let verb = asked.verb;
    let allowed = match (asked.group, asked.resource, asked.subresource) {
        ("", "nodes", "") => {
            return itself(read || verb == "create" || (asked.name == node && matches!(verb, "update" | "patch")));
        }
        ("", "nodes", "status") => {
            return itself(asked.name == node && matches!(verb, "get" | "update" | "patch"));
        }
        ("", "pods", "") => return pods(node, asked, view),
        ("", "pods", "status") => matches!(verb, "get" | "update" | "patch"),
        ("", "pods", "eviction") => verb == "create" && pod_on(node, asked, view),
        ("", "services" | "endpoints", "") | ("discovery.k8s.io", "endpointslices", "") => read,
        ("", "events", "") | ("events.k8s.io", "events", "") => matches!(verb, "create" | "update" | "patch"),
        ("coordination.k8s.io", "leases", "") => return lease(node, asked),
        ("", "configmaps" | "secrets", "") => return referenced(node, asked, view),
        ("", "serviceaccounts", "token") => return token(node, asked, view),
        ("authentication.k8s.io", "tokenreviews" | "selfsubjectreviews", "")
        | ("authorization.k8s.io", "subjectaccessreviews" | "selfsubjectaccessreviews", "") => verb == "create",
        _ => false,
    };
    if allowed { Decision::Allow } else { Decision::Deny("") }
}

fn itself(allowed: bool) -> Decision {
    if allowed { Decision::Allow } else { Decision::Deny("node can only access its own Node object") }
}

/// Its own pods: one by one, or selected by `spec.nodeName`.
fn pods(node: &str, asked: &Attributes<'_>, view: &dyn View) -> Decision {
    let selected = asked.fields.and_then(|f| f.required("spec.nodeName")) == Some(node);
    match asked.verb {
        "list" | "watch" if selected => Decision::Allow,
        "list" | "watch" => Decision::Deny("can only list/watch pods with spec.nodeName field selector"),
        "get" | "delete" if pod_on(node, asked, view) => Decision::Allow,
        "get" | "delete" => Decision::Deny("no relationship found between this node and this object"),
        _ => Decision::Deny(""),
    }
}

fn pod_on(node: &str, asked: &Attributes<'_>, view: &dyn View) -> bool {
    let key = ObjectKey::new(asked.namespace, asked.name);
    match view.get(&keys::object(&Pods, &key)) {
        Some(entry) => parse(&entry.value).is_some_and(|pod| text(&pod["spec"], "nodeName") == node),
        // What is gone may be asked for: the answer is that it is gone.
        None => true,
    }
}

fn lease(node: &str, asked: &Attributes<'_>) -> Decision {
    let verb = matches!(asked.verb, "get" | "create" | "update" | "patch" | "delete");
    // The name of a lease to create is in its body: admission looks there.
    let named = asked.name == node || (asked.verb == "create" && asked.name.is_empty());
    if asked.namespace != LEASE_NAMESPACE {
        Decision::Deny("can only access leases in the \"kube-node-lease\" system namespace")
    } else if verb && named {
        Decision::Allow
    } else {
        Decision::Deny("can only access node lease with the same name as the requesting node")
    }
}

/// A ConfigMap or Secret that a pod on the node needs.
fn referenced(node: &str, asked: &Attributes<'_>, view: &dyn View) -> Decision {
    let name = match asked.verb {
        "get" => asked.name,
        "list" | "watch" => asked.fields.and_then(|f| f.required("metadata.name")).unwrap_or(asked.name),
        _ => return Decision::Deny("can only read resources of this type"),
    };
    if name.is_empty() {
        return Decision::Deny("No Object name found");
    }
    if any_pod(node, asked.namespace, name, view, |pod| references(pod, asked.resource, name)) {
        Decision::Allow
    } else {
        Decision::Deny("no relationship found between this node and this object")
    }
}

/// A token for an account that a pod on the node runs as.
fn token(node: &str, asked: &Attributes<'_>, view: &dyn View) -> Decision {
    let runs_as = |pod: &Tree| text(&pod["spec"], "serviceAccountName") == asked.name;
    if asked.verb == "create" && any_pod(node, asked.namespace, asked.name, view, runs_as) {
        Decision::Allow
    } else {
        Decision::Deny("no relationship found between this node and this object")
    }
}

/// Whether a pod of `namespace` on this node satisfies `test`. Only pods whose bytes hold both names are decoded.
fn any_pod(node: &str, namespace: &str, name: &str, view: &dyn View, test: impl Fn(&Tree) -> bool) -> bool {
    let prefix = format!("pods/{namespace}/");
    let needle = format!("\"nodeName\":{}", Tree::from(node));
    view.range(&prefix, None).any(|entry| {
        let Ok(raw) = std::str::from_utf8(&entry.value) else { return false };
        raw.contains(&needle)
            && raw.contains(name)
            && parse(&entry.value).is_some_and(|pod| text(&pod["spec"], "nodeName") == node && test(&pod))
    })
}

fn parse(value: &[u8]) -> Option<Tree> {
    serde_json::from_slice(value).ok()
}
