//! Defaults of a pod's spec that depend on other fields.

use crate::validate::{int, items_mut, text};
use coracle_proto::Tree;
use serde_json::json;

/// `spec` of a Pod or of a template; an object.
pub fn set_spec_defaults(spec: &mut Tree) {
    service_account(spec);
    let host_network = spec["hostNetwork"] == true;
    for list in ["containers", "initContainers"] {
        for container in items_mut(spec, list).filter(|c| c.is_object()) {
            requests_from_limits(container);
            pull_policy(container);
            if host_network {
                host_ports(container);
            }
        }
    }
    for container in items_mut(spec, "ephemeralContainers").filter(|c| c.is_object()) {
        pull_policy(container);
    }
}

/// The deprecated spelling and the present one say the same.
fn service_account(spec: &mut Tree) {
    let (new, old) = (text(spec, "serviceAccountName").to_owned(), text(spec, "serviceAccount").to_owned());
    if !new.is_empty() {
        spec["serviceAccount"] = new.into();
    } else if !old.is_empty() {
        spec["serviceAccountName"] = old.into();
    }
}

fn requests_from_limits(container: &mut Tree) {
    let Some(limits) = container["resources"]["limits"].as_object().cloned() else { return };
    let requests = &mut container["resources"]["requests"];
    if !requests.is_object() {
        *requests = json!({});
    }
    for (name, amount) in limits {
        if requests[&name].is_null() {
            requests[&name] = amount;
        }
    }
}

fn pull_policy(container: &mut Tree) {
    if text(container, "imagePullPolicy").is_empty() {
        let policy = if is_latest(text(container, "image")) { "Always" } else { "IfNotPresent" };
        container["imagePullPolicy"] = policy.into();
    }
}

/// No tag and no digest means `latest`.
fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn host_ports(container: &mut Tree) {
    for port in items_mut(container, "ports") {
        if int(port, "hostPort") == 0 {
            port["hostPort"] = port["containerPort"].clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_latest_is_always_pulled() {
        let table = [
            ("nginx", true),
            ("nginx:latest", true),
            ("nginx:1.25", false),
            ("localhost:5000/a", true),
            ("localhost:5000/a:v1", false),
            ("a@sha256:0000", false),
        ];
        for (image, latest) in table {
            assert_eq!(is_latest(image), latest, "{image}");
        }
    }

    #[test]
    fn limits_become_requests_where_there_are_none() {
        let mut spec = json!({"containers": [
            {"name": "a", "image": "x:1", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}},
        ]});
        set_spec_defaults(&mut spec);
        assert_eq!(spec["containers"][0]["resources"]["requests"], json!({"cpu": "500m", "memory": "1Gi"}));
        assert_eq!(spec["containers"][0]["imagePullPolicy"], "IfNotPresent");
    }
}
