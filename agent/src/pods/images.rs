//! An image for a container: there already, or pulled, with the pod's credentials.

use super::context::Context;
use super::start::StartFailure;
use crate::objects::{Lookup, ObjectId, Objects, Values, decode_auth};
use coracle_runtime::{Image, RegistryAuth, RuntimeError};
use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::Value;
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Always,
    IfNotPresent,
    Never,
}

/// Upstream's default looks at the tag.
fn policy(container: &Container) -> Policy {
    match container.image_pull_policy.as_deref() {
        Some("Always") => Policy::Always,
        Some("Never") => Policy::Never,
        Some("IfNotPresent") => Policy::IfNotPresent,
        _ if tag(container.image.as_deref().unwrap_or_default()) == Some("latest") => Policy::Always,
        _ => Policy::IfNotPresent,
    }
}

/// `None` for an image named by digest.
fn tag(image: &str) -> Option<&str> {
    if image.contains('@') {
        return None;
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    Some(name.split_once(':').map_or("latest", |(_, tag)| tag))
}

pub async fn ensure(
    context: &Context,
    pod: &Pod,
    container: &Container,
    objects: &Objects,
) -> Result<Image, StartFailure> {
    let name = container.image.as_deref().unwrap_or_default();
    let tell =
        |reason: &'static str, message: String| context.container_event(pod, &container.name, false, reason, message);
    let present = context.runtime.image(name).await.map_err(|error| invalid_or(name, error, "ImageInspectError"))?;
    match (policy(container), present) {
        (Policy::Never | Policy::IfNotPresent, Some(image)) => {
            tell("Pulled", format!("Container image {name:?} already present on machine"));
            Ok(image)
        }
        (Policy::Never, None) => {
            let message = format!("Container image {name:?} is not present with pull policy of Never");
            context.container_event(pod, &container.name, true, "ErrImageNeverPull", message.clone());
            Err(StartFailure::image("ErrImageNeverPull", message))
        }
        (Policy::Always, _) | (Policy::IfNotPresent, None) => {
            tell("Pulling", format!("Pulling image {name:?}"));
            pull(context, pod, container, name, objects).await
        }
    }
}

async fn pull(
    context: &Context,
    pod: &Pod,
    container: &Container,
    name: &str,
    objects: &Objects,
) -> Result<Image, StartFailure> {
    let waiting = Instant::now();
    let closed = |_| StartFailure::image("ErrImagePull", "the agent is stopping".to_owned());
    let _permit = context.pulls.acquire().await.map_err(closed)?;
    let pulling = Instant::now();
    let mut auths: Vec<Option<RegistryAuth>> = credentials(pod, name, objects).into_iter().map(Some).collect();
    // A registry that is open to all needs none.
    if auths.is_empty() {
        auths.push(None);
    }
    let mut last = None;
    for auth in auths {
        match context.runtime.pull_image(name, auth.as_ref()).await {
            Ok(image) => {
                let message = format!(
                    "Successfully pulled image {name:?} in {:?} ({:?} including waiting). Image size: {} bytes.",
                    pulling.elapsed(),
                    waiting.elapsed(),
                    image.bytes
                );
                context.container_event(pod, &container.name, false, "Pulled", message);
                return Ok(image);
            }
            Err(error) => last = Some(error),
        }
    }
    let error = last.unwrap_or_else(|| RuntimeError::Pull { name: name.to_owned(), why: "no attempt was made".into() });
    let failure = invalid_or(name, error, "ErrImagePull");
    let warn = |message: String| context.container_event(pod, &container.name, true, "Failed", message);
    warn(format!("Failed to pull image {name:?}: {}", failure.message));
    warn(format!("Error: {}", failure.reason));
    Err(failure)
}

fn invalid_or(name: &str, error: RuntimeError, reason: &'static str) -> StartFailure {
    match error {
        RuntimeError::BadReference { why, .. } => {
            let message = format!(
                "Failed to apply default image tag {name:?}: couldn't parse image name {name:?}: invalid reference format: {why}"
            );
            StartFailure::image("InvalidImageName", message)
        }
        other => StartFailure::image(reason, other.to_string()),
    }
}

/// Those of `imagePullSecrets` that are for the image's registry.
fn credentials(pod: &Pod, image: &str, objects: &Objects) -> Vec<RegistryAuth> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let secrets = pod.spec.iter().flat_map(|s| s.image_pull_secrets.iter().flatten());
    let registry = registry(image);
    secrets
        .filter_map(|secret| match objects.get(&ObjectId::secret(namespace, &secret.name)) {
            Some(Lookup::Found(values)) => Some(of_secret(values, registry)),
            _ => None,
        })
        .flatten()
        .collect()
}

/// `docker.io` where the name begins with none.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}

fn of_secret(values: &Values, registry: &str) -> Vec<RegistryAuth> {
    let parsed = |key: &str| values.entries.get(key).and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
    let list = match values.kind.as_str() {
        "kubernetes.io/dockercfg" => parsed(".dockercfg"),
        _ => parsed(".dockerconfigjson").map(|mut tree| tree["auths"].take()),
    };
    let entries = list.as_ref().and_then(Value::as_object).into_iter().flatten();
    entries.filter(|(server, _)| host_of(server) == registry).filter_map(|(_, entry)| auth(entry)).collect()
}

/// `https://index.docker.io/v1/` is Docker Hub's old name.
fn host_of(server: &str) -> &str {
    let bare = server.trim_start_matches("https://").trim_start_matches("http://");
    let host = bare.split('/').next().unwrap_or(bare);
    if matches!(host, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { host }
}

fn auth(entry: &Value) -> Option<RegistryAuth> {
    let text = |key: &str| entry[key].as_str().map(str::to_owned);
    if let (Some(username), Some(password)) = (text("username"), text("password")) {
        return Some(RegistryAuth { username, password });
    }
    let (username, password) = decode_auth(entry["auth"].as_str()?)?;
    Some(RegistryAuth { username, password })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::sync::Arc;

    #[test]
    fn policies_default_by_tag() {
        for (image, expected) in [
            ("busybox", Policy::Always),
            ("busybox:latest", Policy::Always),
            ("busybox:1.36", Policy::IfNotPresent),
            ("localhost:5000/busybox", Policy::Always),
            ("localhost:5000/busybox:1", Policy::IfNotPresent),
            ("busybox@sha256:00", Policy::IfNotPresent),
        ] {
            let container = Container { image: Some(image.into()), ..Container::default() };
            assert_eq!(policy(&container), expected, "{image}");
        }
    }

    #[test]
    fn credentials_go_to_their_own_registry_only() {
        let config = r#"{"auths": {
            "https://index.docker.io/v1/": {"username": "hub", "password": "1"},
            "localhost:5000": {"auth": "dXNlcjpwYTpzcw=="},
            "broken.example": {"auth": "%%%"}}}"#;
        let entries = [(".dockerconfigjson".to_owned(), Bytes::from(config))].into();
        let values = Values { entries, kind: "kubernetes.io/dockerconfigjson".into() };
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"namespace": "d"}, "spec": {"containers": [], "imagePullSecrets": [{"name": "s"}, {"name": "none"}]},
        }))
        .expect("a pod");
        let objects = Objects::from([(ObjectId::secret("d", "s"), Lookup::Found(Arc::new(values)))]);
        let users = |image: &str| -> Vec<(String, String)> {
            credentials(&pod, image, &objects).into_iter().map(|a| (a.username, a.password)).collect()
        };
        assert_eq!(users("busybox:1"), [("hub".into(), "1".into())]);
        assert_eq!(users("localhost:5000/a/b:1"), [("user".into(), "pa:ss".into())]);
        assert!(users("broken.example/x").is_empty() && users("other.example/x").is_empty());
    }
}
