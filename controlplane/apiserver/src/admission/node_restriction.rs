//! NodeRestriction: a node writes only about itself and what runs on it. Authorisation lets a node name the kinds;
//! this looks at the objects.

use crate::registry::Call;
use crate::validate::{items, text};
use coracle_proto::{ApiError, ObjectKey, Tree, meta};

pub fn create(call: &Call<'_>, new: &Tree) -> Result<(), ApiError> {
    let Some(node) = call.user.node_name() else { return Ok(()) };
    let refuse = |why: String| Err(ApiError::forbidden(call.resource(), meta::name(new), why));
    match call.kind.facts().storage {
        "nodes" if meta::name(new) != node => {
            refuse(format!("node {node:?} is not allowed to modify node {:?}", meta::name(new)))
        }
        "nodes" => restricted_labels(call, node, new, &Tree::Null),
        "pods" => refuse("pods can only be created by nodes as mirror pods, which this cluster has not".into()),
        "leases.coordination.k8s.io" if meta::namespace(new) != "kube-node-lease" || meta::name(new) != node => {
            refuse("can only access node lease with the same name as the requesting node".into())
        }
        _ => Ok(()),
    }
}

pub fn update(call: &Call<'_>, new: &Tree, old: &Tree) -> Result<(), ApiError> {
    let Some(node) = call.user.node_name() else { return Ok(()) };
    match call.kind.facts().storage {
        "pods" => own_pod(call, node, new, old),
        "nodes" => {
            if new["spec"]["taints"] != old["spec"]["taints"] && call.subresource.is_empty() {
                let why = format!("node {node:?} is not allowed to modify taints");
                return Err(ApiError::forbidden(call.resource(), meta::name(old), why));
            }
            restricted_labels(call, node, new, old)
        }
        _ => Ok(()),
    }
}

/// The node authoriser has looked at the pod this server knew of; this is the one that is deleted.
pub fn delete(call: &Call<'_>, object: &Tree) -> Result<(), ApiError> {
    let Some(node) = call.user.node_name() else { return Ok(()) };
    let why = match call.kind.facts().storage {
        "nodes" => format!("node {node:?} is not allowed to delete nodes"),
        "pods" if text(&object["spec"], "nodeName") != node => {
            format!("node {node:?} can only delete pods with spec.nodeName set to itself")
        }
        _ => return Ok(()),
    };
    Err(ApiError::forbidden(call.resource(), &call.key.name, why))
}

/// Labels decide which Services send traffic to a pod: they are not the node's to set.
fn own_pod(call: &Call<'_>, node: &str, new: &Tree, old: &Tree) -> Result<(), ApiError> {
    let why = if text(&old["spec"], "nodeName") != node {
        format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself")
    } else if meta::labels(new) != meta::labels(old) {
        format!("node {node:?} cannot update labels through pod status")
    } else {
        return Ok(());
    };
    Err(ApiError::forbidden(call.resource(), &ObjectKey::of(old).name, why))
}

/// What a kubelet may say of its own node in the domains of Kubernetes, beside [`KUBELET_DOMAINS`].
const KUBELET_LABELS: [&str; 10] = [
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
];
const KUBELET_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

fn is_within(domain: &str, parent: &str) -> bool {
    domain.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether a node may not set this label, not even on itself. Pure.
fn is_restricted(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else { return false };
    let kubernetes = ["kubernetes.io", "k8s.io"].iter().any(|parent| is_within(domain, parent));
    kubernetes && !KUBELET_LABELS.contains(&key) && !KUBELET_DOMAINS.iter().any(|parent| is_within(domain, parent))
}

/// Labels that mark who a node is for are not the node's to set.
fn restricted_labels(call: &Call<'_>, node: &str, new: &Tree, old: &Tree) -> Result<(), ApiError> {
    let (now, before) = (meta::labels(new), meta::labels(old));
    let changed = now.keys().chain(before.keys()).find(|key| is_restricted(key) && now.get(*key) != before.get(*key));
    match changed {
        Some(key) => {
            let why = format!("is not allowed to modify labels: {key}");
            Err(ApiError::forbidden(call.resource(), meta::name(new), format!("node {node:?} {why}")))
        }
        None => Ok(()),
    }
}

/// A node asks for tokens on behalf of its pods only. `bound` is what the token would be bound to.
pub fn token(call: &Call<'_>, bound: Option<&Tree>) -> Result<(), ApiError> {
    let Some(node) = call.user.node_name() else { return Ok(()) };
    let why = match bound {
        Some(pod) if pod["kind"] == "Pod" && text(&pod["spec"], "nodeName") == node => return Ok(()),
        Some(pod) if pod["kind"] == "Pod" => "node requested token bound to a pod scheduled on a different node",
        _ => "node requested token not bound to a pod",
    };
    Err(ApiError::forbidden(call.resource(), &call.key.name, why))
}

/// Whether a pod needs this object: the node it runs on may then read it.
pub fn references(pod: &Tree, storage: &str, name: &str) -> bool {
    let spec = &pod["spec"];
    let containers = ["containers", "initContainers", "ephemeralContainers"];
    let containers = || containers.iter().flat_map(|list| items(spec, list));
    let (volume, projected, from, key) = match storage {
        "configmaps" => (("configMap", "name"), "configMap", "configMapRef", "configMapKeyRef"),
        "secrets" => (("secret", "secretName"), "secret", "secretRef", "secretKeyRef"),
        _ => return false,
    };
    let in_volumes = items(spec, "volumes").iter().any(|v| {
        text(&v[volume.0], volume.1) == name
            || items(&v["projected"], "sources").iter().any(|s| text(&s[projected], "name") == name)
    });
    let in_env = containers().any(|c| {
        items(c, "envFrom").iter().any(|e| text(&e[from], "name") == name)
            || items(c, "env").iter().any(|e| text(&e["valueFrom"][key], "name") == name)
    });
    let pulls = storage == "secrets" && items(spec, "imagePullSecrets").iter().any(|s| text(s, "name") == name);
    in_volumes || in_env || pulls
}
