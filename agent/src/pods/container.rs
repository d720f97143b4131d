//! What the runtime is told of one container: pure.

use super::env::Environment;
use super::expand::expand;
use coracle_runtime::{ContainerSpec, Image, Mount, Resources, Security};
use k8s_openapi::api::core::v1::Container;
use std::collections::BTreeMap;

/// The parts that were decided elsewhere.
pub struct Parts {
    pub attempt: u32,
    pub image: Image,
    pub environment: Environment,
    pub mounts: Vec<Mount>,
    pub resources: Resources,
    pub security: Security,
}

pub fn render(container: &Container, parts: Parts) -> ContainerSpec {
    let expanded = |texts: &Option<Vec<String>>| -> Vec<String> {
        texts.iter().flatten().map(|text| expand(text, |name| parts.environment.get(name))).collect()
    };
    let (command, args) = (expanded(&container.command), expanded(&container.args));
    ContainerSpec {
        name: container.name.clone(),
        attempt: parts.attempt,
        image: container.image.clone().unwrap_or_default(),
        image_id: parts.image.id,
        command,
        args,
        working_dir: container.working_dir.clone().filter(|d| !d.is_empty()),
        env: parts.environment.into_pairs(),
        mounts: parts.mounts,
        devices: Vec::new(),
        tty: container.tty.unwrap_or(false),
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        resources: parts.resources,
        security: parts.security,
        labels: BTreeMap::new(),
    }
}
