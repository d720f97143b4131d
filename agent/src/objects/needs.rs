//! Which config maps and secrets a pod refers to: pure.

use super::ObjectId;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Volume};
use std::collections::BTreeSet;

/// All of them, optional ones too.
pub fn needs(pod: &Pod) -> BTreeSet<ObjectId> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let Some(spec) = &pod.spec else { return BTreeSet::new() };
    let mut ids = BTreeSet::new();
    for container in containers(spec) {
        of_container(namespace, container, &mut ids);
    }
    for volume in spec.volumes.iter().flatten() {
        of_volume(namespace, volume, &mut ids);
    }
    for reference in spec.image_pull_secrets.iter().flatten().filter(|r| !r.name.is_empty()) {
        ids.insert(ObjectId::secret(namespace, &reference.name));
    }
    ids
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

fn of_container(namespace: &str, container: &Container, ids: &mut BTreeSet<ObjectId>) {
    for source in container.env_from.iter().flatten() {
        ids.extend(source.config_map_ref.iter().map(|r| ObjectId::config_map(namespace, &r.name)));
        ids.extend(source.secret_ref.iter().map(|r| ObjectId::secret(namespace, &r.name)));
    }
    for source in container.env.iter().flatten().filter_map(|e| e.value_from.as_ref()) {
        ids.extend(source.config_map_key_ref.iter().map(|r| ObjectId::config_map(namespace, &r.name)));
        ids.extend(source.secret_key_ref.iter().map(|r| ObjectId::secret(namespace, &r.name)));
    }
}

fn of_volume(namespace: &str, volume: &Volume, ids: &mut BTreeSet<ObjectId>) {
    ids.extend(volume.config_map.iter().map(|v| ObjectId::config_map(namespace, &v.name)));
    let secrets = volume.secret.iter().filter_map(|v| v.secret_name.as_ref());
    ids.extend(secrets.map(|name| ObjectId::secret(namespace, name)));
    for source in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
        ids.extend(source.config_map.iter().map(|v| ObjectId::config_map(namespace, &v.name)));
        ids.extend(source.secret.iter().map(|v| ObjectId::secret(namespace, &v.name)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_kind_of_reference_is_seen() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"namespace": "d", "name": "p"},
            "spec": {
                "initContainers": [{"name": "i", "envFrom": [{"configMapRef": {"name": "c1"}}, {"secretRef": {"name": "s1"}}]}],
                "containers": [{"name": "m", "env": [
                    {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c2", "key": "k"}}},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s2", "key": "k"}}},
                ]}],
                "volumes": [
                    {"name": "a", "configMap": {"name": "c3"}},
                    {"name": "b", "secret": {"secretName": "s3"}},
                    {"name": "c", "projected": {"sources": [{"configMap": {"name": "c4"}}, {"secret": {"name": "s4"}}]}},
                ],
                "imagePullSecrets": [{"name": "s5"}],
            },
        }))
        .expect("a pod");
        let found: Vec<String> = needs(&pod).into_iter().map(|id| id.key.name).collect();
        assert_eq!(found, ["c1", "c2", "c3", "c4", "s1", "s2", "s3", "s4", "s5"]);
    }
}
