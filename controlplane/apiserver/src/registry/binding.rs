//! `pods/binding`: how a scheduler puts a pod on a node.

use super::replace::Part;
use super::{Call, Registry, get};
use crate::validate::{items, text};
use coracle_proto::field::FieldError;
use coracle_proto::{ApiError, Object, Tree, meta, name, time};
use jiff::Timestamp;
use serde_json::json;

impl Registry {
    pub(super) async fn bind(&self, call: &Call<'_>, binding: &Tree) -> Result<Object, ApiError> {
        let node = text(&binding["target"], "name");
        let kind = text(&binding["target"], "kind");
        let wrong = match (kind, node) {
            ("" | "Node", "") => Some(FieldError::required("target.name", "")),
            ("" | "Node", _) => name::dns1123_subdomain(node).map(|why| FieldError::invalid("target.name", node, why)),
            (other, _) => Some(FieldError::not_supported("target.kind", other, &["Node", "<empty>"])),
        };
        if let Some(wrong) = wrong {
            return Err(ApiError::invalid("", "Binding", &call.key.name, &[wrong]));
        }
        let uid = meta::uid(binding);
        let now = time::render(Timestamp::now());
        self.replace(call, Part::Trusted, |pod| bound(call, pod, node, uid, binding, &now)).await?;
        let done = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
        Ok(get::from_tree(&done, 0))
    }
}

fn bound(call: &Call<'_>, pod: &Tree, node: &str, uid: &str, binding: &Tree, now: &str) -> Result<Tree, ApiError> {
    let (resource, name) = (call.resource(), &call.key.name);
    if !uid.is_empty() && uid != meta::uid(pod) {
        let present = meta::uid(pod);
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {present}");
        return Err(ApiError::conflict(resource, name, why));
    }
    if meta::is_deleting(pod) {
        let why = format!("pod {name} is being deleted, cannot be assigned to a host");
        return Err(ApiError::conflict(resource, name, why));
    }
    let present = text(&pod["spec"], "nodeName");
    if !present.is_empty() {
        let why = format!("pod {name} is already assigned to node {present:?}");
        return Err(ApiError::conflict(resource, name, why));
    }
    if !items(&pod["spec"], "schedulingGates").is_empty() {
        let why = format!("pod {name} has non-empty .spec.schedulingGates");
        return Err(ApiError::conflict(resource, name, why));
    }
    let mut bound = pod.clone();
    bound["spec"]["nodeName"] = node.into();
    for (key, value) in binding["metadata"]["annotations"].as_object().into_iter().flatten() {
        bound["metadata"]["annotations"][key] = value.clone();
    }
    scheduled(&mut bound, now);
    Ok(bound)
}

/// Sets the condition `PodScheduled`.
fn scheduled(pod: &mut Tree, now: &str) {
    let mut conditions = items(&pod["status"], "conditions").to_vec();
    conditions.retain(|c| text(c, "type") != "PodScheduled");
    conditions.push(json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now,
    }));
    pod["status"]["conditions"] = conditions.into();
}
