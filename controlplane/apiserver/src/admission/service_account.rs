//! ServiceAccount: every pod runs as one, and finds its token where clients look for it.

use crate::registry::Call;
use crate::suffix;
use crate::validate::{items, items_mut, text};
use coracle_proto::resource::PODS;
use coracle_proto::{ApiError, Object, ObjectKey, Tree, meta};
use coracle_store::View;
use serde_json::json;

const DEFAULT: &str = "default";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// Upstream's lifetime of the projected token: an hour and a little.
const TOKEN_SECONDS: i64 = 3607;

pub fn admit(call: &Call<'_>, pod: &mut Tree, view: &dyn View) -> Result<(), ApiError> {
    if meta::annotation(pod, "kubernetes.io/config.mirror").is_some() || !pod["spec"].is_object() {
        return Ok(());
    }
    if text(&pod["spec"], "serviceAccountName").is_empty() {
        pod["spec"]["serviceAccountName"] = DEFAULT.into();
        pod["spec"]["serviceAccount"] = DEFAULT.into();
    }
    let name = text(&pod["spec"], "serviceAccountName").to_owned();
    let account = find(call, pod, &name, view)?;
    let automount = pod["spec"]["automountServiceAccountToken"]
        .as_bool()
        .or(account["automountServiceAccountToken"].as_bool())
        .unwrap_or(true);
    if automount {
        mount_token(pod);
    }
    if items(&pod["spec"], "imagePullSecrets").is_empty() && !items(&account, "imagePullSecrets").is_empty() {
        pod["spec"]["imagePullSecrets"] = account["imagePullSecrets"].clone();
    }
    Ok(())
}

fn find(call: &Call<'_>, pod: &Tree, name: &str, view: &dyn View) -> Result<Tree, ApiError> {
    let namespace = call.key.namespace.as_str();
    let key = ObjectKey::new(namespace, name);
    let Some(entry) = view.get(&format!("serviceaccounts/{key}")) else {
        // In the singular: upstream's words, which people search for.
        let why = format!("error looking up service account {key}: serviceaccount \"{name}\" not found");
        return Err(ApiError::forbidden(&PODS, meta::name(pod), why));
    };
    Object { revision: entry.modified.0, json: entry.value }.tree()
}

/// Adds the projected volume to the pod and mounts it in every container that has nothing there.
fn mount_token(pod: &mut Tree) {
    let present = items(&pod["spec"], "volumes").iter().map(|v| text(v, "name"));
    let present = present.filter(|name| name.starts_with(VOLUME_PREFIX)).map(str::to_owned).next();
    let name = present.clone().unwrap_or_else(|| format!("{VOLUME_PREFIX}{}", suffix::random()));
    let mut used = false;
    for list in ["initContainers", "containers"] {
        for container in items_mut(&mut pod["spec"], list).filter(|c| c.is_object()) {
            let mounts = items(container, "volumeMounts");
            if mounts.iter().any(|m| text(m, "mountPath").trim_end_matches('/') == MOUNT_PATH) {
                continue;
            }
            let mut mounts = mounts.to_vec();
            mounts.push(json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH}));
            container["volumeMounts"] = mounts.into();
            used = true;
        }
    }
    if used && present.is_none() {
        let mut volumes = items(&pod["spec"], "volumes").to_vec();
        volumes.push(volume(&name));
        pod["spec"]["volumes"] = volumes.into();
    }
}

fn volume(name: &str) -> Tree {
    json!({"name": name, "projected": {"defaultMode": 0o644, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
        ]}},
    ]}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_container_gets_the_token_once() {
        let own = json!([{"name": "mine", "mountPath": MOUNT_PATH}]);
        let mut pod = json!({"spec": {"containers": [{"name": "a"}, {"name": "b", "volumeMounts": own}]}});
        mount_token(&mut pod);
        let name = pod["spec"]["volumes"][0]["name"].clone();
        assert!(name.as_str().is_some_and(|n| n.len() == VOLUME_PREFIX.len() + suffix::LENGTH));
        assert_eq!(pod["spec"]["containers"][0]["volumeMounts"][0]["name"], name);
        assert_eq!(pod["spec"]["containers"][1]["volumeMounts"], own);
        let once = pod.clone();
        mount_token(&mut pod);
        assert_eq!(pod, once);
    }
}
