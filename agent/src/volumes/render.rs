//! What the files of a volume are: pure.

use super::tokens::{TokenKey, Tokens};
use crate::objects::{Lookup, ObjectId, ObjectKind, Objects, Values};
use crate::pods::downward::{self, NodeContext};
use crate::pods::env::container_named;
use bytes::Bytes;
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, DownwardAPIVolumeFile, KeyToPath, Pod, SecretVolumeSource, ServiceAccountTokenProjection,
    Volume, VolumeProjection,
};
use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::sync::Arc;

/// By path, relative to the volume.
pub type Files = BTreeMap<String, File>;

#[derive(Clone, PartialEq)]
pub struct File {
    pub bytes: Bytes,
    pub mode: u32,
    /// The one user that all containers run as, for tokens.
    pub owner: Option<u32>,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "File({} bytes, {:o})", self.bytes.len(), self.mode)
    }
}

/// Everything the content may depend on.
pub struct Content<'a> {
    pub pod: &'a Pod,
    pub node: &'a NodeContext,
    pub objects: &'a Objects,
    pub tokens: &'a Tokens,
}

const DEFAULT_MODE: i32 = 0o644;

/// The files of a volume made of content; `None` for other kinds of volume.
pub fn files(content: &Content<'_>, volume: &Volume) -> Option<Result<Files, String>> {
    if let Some(source) = &volume.config_map {
        return Some(config_map(content, source));
    }
    if let Some(source) = &volume.secret {
        return Some(secret(content, source));
    }
    if let Some(source) = &volume.downward_api {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        return Some(downward_files(content, source.items.iter().flatten(), mode).and_then(checked));
    }
    let source = volume.projected.as_ref()?;
    let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
    let mut files = Files::new();
    for projection in source.sources.iter().flatten() {
        match projected(content, projection, mode) {
            Ok(more) => files.extend(more),
            Err(why) => return Some(Err(why)),
        }
    }
    Some(checked(files))
}

fn config_map(content: &Content<'_>, source: &ConfigMapVolumeSource) -> Result<Files, String> {
    let id = ObjectId::config_map(namespace(content), &source.name);
    let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
    keyed(content, &id, source.items.as_deref(), mode, source.optional).and_then(checked)
}

fn secret(content: &Content<'_>, source: &SecretVolumeSource) -> Result<Files, String> {
    let id = ObjectId::secret(namespace(content), source.secret_name.as_deref().unwrap_or_default());
    let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
    keyed(content, &id, source.items.as_deref(), mode, source.optional).and_then(checked)
}

fn namespace<'a>(content: &Content<'a>) -> &'a str {
    content.pod.metadata.namespace.as_deref().unwrap_or_default()
}

fn projected(content: &Content<'_>, projection: &VolumeProjection, mode: i32) -> Result<Files, String> {
    let namespace = namespace(content);
    if let Some(source) = &projection.config_map {
        let id = ObjectId::config_map(namespace, &source.name);
        return keyed(content, &id, source.items.as_deref(), mode, source.optional);
    }
    if let Some(source) = &projection.secret {
        let id = ObjectId::secret(namespace, &source.name);
        return keyed(content, &id, source.items.as_deref(), mode, source.optional);
    }
    if let Some(source) = &projection.downward_api {
        return downward_files(content, source.items.iter().flatten(), mode);
    }
    if let Some(source) = &projection.service_account_token {
        return token_file(content, source, mode);
    }
    Err("projected volumes of this kind are not supported".to_owned())
}

/// The keys of an object as files: all of them, or the chosen ones.
fn keyed(
    content: &Content<'_>,
    id: &ObjectId,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: Option<bool>,
) -> Result<Files, String> {
    let optional = optional.unwrap_or(false);
    let (kind, word) = match id.kind {
        ObjectKind::ConfigMap => ("configmap", "config"),
        ObjectKind::Secret => ("secret", "secret"),
    };
    let values: Arc<Values> = match content.objects.get(id).cloned().unwrap_or_default() {
        Lookup::Found(values) => values,
        Lookup::Missing if optional => Arc::default(),
        Lookup::Missing => return Err(format!("{kind} {:?} not found", id.key.name)),
        Lookup::Unknown => return Err(format!("failed to sync {kind} cache: timed out waiting for the condition")),
    };
    let file = |bytes: &Bytes, mode: i32| File { bytes: bytes.clone(), mode: mode_bits(mode), owner: None };
    let Some(items) = items.filter(|i| !i.is_empty()) else {
        return Ok(values.entries.iter().map(|(key, bytes)| (key.clone(), file(bytes, mode))).collect());
    };
    let mut files = Files::new();
    for item in items {
        match values.entries.get(&item.key) {
            Some(bytes) => drop(files.insert(item.path.clone(), file(bytes, item.mode.unwrap_or(mode)))),
            None if optional => {}
            None => return Err(format!("references non-existent {word} key: {}", item.key)),
        }
    }
    Ok(files)
}

fn downward_files<'a>(
    content: &Content<'_>,
    items: impl Iterator<Item = &'a DownwardAPIVolumeFile>,
    mode: i32,
) -> Result<Files, String> {
    let mut files = Files::new();
    for item in items {
        let text = if let Some(reference) = &item.field_ref {
            downward::field(content.pod, content.node, &reference.field_path)?
        } else if let Some(reference) = &item.resource_field_ref {
            let name = reference.container_name.as_deref().unwrap_or_default();
            let container = container_named(content.pod, name).ok_or_else(|| format!("container {name} not found"))?;
            downward::resource(container, content.node, reference)?
        } else {
            continue;
        };
        let mode = mode_bits(item.mode.unwrap_or(mode));
        files.insert(item.path.clone(), File { bytes: text.into(), mode, owner: None });
    }
    Ok(files)
}

/// Readable by the pod's one user or its group alone, where there is one, as upstream.
fn token_file(content: &Content<'_>, source: &ServiceAccountTokenProjection, mode: i32) -> Result<Files, String> {
    let key = TokenKey::of(content.pod, source);
    let token = content.tokens.get(&key).ok_or_else(|| "the service account's token is not there yet".to_owned())?;
    let owner = one_user(content.pod);
    let has_group = content.pod.spec.as_ref().and_then(|s| s.security_context.as_ref()?.fs_group).is_some();
    let mode = if owner.is_some() || has_group { 0o600 } else { mode_bits(mode) };
    Ok(Files::from([(source.path.clone(), File { bytes: token.text.clone(), mode, owner })]))
}

/// The user all containers of the pod run as, if that is one.
fn one_user(pod: &Pod) -> Option<u32> {
    let spec = pod.spec.as_ref()?;
    let shared = spec.security_context.as_ref().and_then(|s| s.run_as_user);
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let mut users = containers.map(|c| c.security_context.as_ref().and_then(|s| s.run_as_user).or(shared));
    let first = users.next()??;
    users.all(|u| u == Some(first)).then(|| u32::try_from(first).ok()).flatten()
}

fn mode_bits(mode: i32) -> u32 {
    mode.cast_unsigned() & 0o777
}

/// Paths stay inside the volume and leave its own names alone.
fn checked(files: Files) -> Result<Files, String> {
    for path in files.keys() {
        let inside = Path::new(path).components().all(|c| matches!(c, Component::Normal(_)));
        if !inside || path.is_empty() || path.starts_with("..") || path.ends_with('/') {
            return Err(format!("invalid path {path:?}: must be relative and not contain '..'"));
        }
    }
    if files.len() > crate::limits::VOLUME_FILES_MAX {
        return Err(format!("a volume of {} files is too large", files.len()));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rendered(volume: Value) -> Result<Vec<(String, String, u32)>, String> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "d", "uid": "u", "labels": {"a": "1"}},
            "spec": {"serviceAccountName": "sa", "containers": [{"name": "c", "securityContext": {"runAsUser": 7}}]},
        }))
        .expect("a pod");
        let entries = [("a", "1"), ("b", "2")].map(|(k, v)| (k.to_owned(), Bytes::from(v))).into();
        let found = Lookup::Found(Arc::new(Values { entries, kind: String::new() }));
        let objects = Objects::from([
            (ObjectId::config_map("d", "m"), found.clone()),
            (ObjectId::secret("d", "s"), found),
            (ObjectId::config_map("d", "none"), Lookup::Missing),
        ]);
        let source = serde_json::from_value(json!({"path": "token"})).expect("a projection");
        let tokens = Tokens::from([(TokenKey::of(&pod, &source), crate::volumes::Token::for_test("t"))]);
        let content = Content { pod: &pod, node: &NodeContext::default(), objects: &objects, tokens: &tokens };
        let mut volume = volume;
        volume["name"] = json!("v");
        let volume = serde_json::from_value(volume).expect("a volume");
        let files = files(&content, &volume).expect("made of content")?;
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        Ok(files.into_iter().map(|(path, f)| (path, text(&f.bytes), f.mode)).collect())
    }

    fn file(path: &str, text: &str, mode: u32) -> (String, String, u32) {
        (path.into(), text.into(), mode)
    }

    #[test]
    fn keys_items_and_modes() {
        let all = vec![file("a", "1", 0o644), file("b", "2", 0o644)];
        assert_eq!(rendered(json!({"configMap": {"name": "m"}})), Ok(all));
        let items = json!([{"key": "a", "path": "x/y", "mode": 0o400}]);
        let chosen = vec![file("x/y", "1", 0o400)];
        assert_eq!(rendered(json!({"secret": {"secretName": "s", "items": items}})), Ok(chosen));
        assert_eq!(rendered(json!({"configMap": {"name": "none", "optional": true}})), Ok(vec![]));
    }

    #[test]
    fn what_is_missing_or_would_escape_is_refused() {
        let item = |key: &str, path: &str| json!({"configMap": {"name": "m", "items": [{"key": key, "path": path}]}});
        let table = [
            (json!({"configMap": {"name": "none"}}), "configmap \"none\" not found"),
            (json!({"secret": {"secretName": "untold"}}), "failed to sync secret cache"),
            (item("z", "z"), "references non-existent config key: z"),
            (item("a", "../a"), "invalid path"),
            (item("a", "x/../../a"), "invalid path"),
            (item("a", "/etc/a"), "invalid path"),
            (item("a", "..data"), "invalid path"),
            (item("a", ""), "invalid path"),
        ];
        for (volume, part) in table {
            let error = rendered(volume.clone()).expect_err("is refused");
            assert!(error.contains(part), "{volume}: {error}");
        }
    }

    #[test]
    fn a_projected_volume_is_all_its_sources() {
        let sources = json!([
            {"serviceAccountToken": {"path": "token"}},
            {"configMap": {"name": "m", "items": [{"key": "a", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        ]);
        let expected = vec![file("ca.crt", "1", 0o644), file("namespace", "d", 0o644), file("token", "t", 0o600)];
        assert_eq!(rendered(json!({"projected": {"sources": sources}})), Ok(expected));
    }
}
