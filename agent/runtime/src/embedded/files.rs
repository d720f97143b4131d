//! Where everything is kept: `sandboxes/<id>/` and `containers/<id>/` below the runtime's folder.

use crate::{ContainerId, SandboxId};
use std::path::{Path, PathBuf};

/// The commit point of a sandbox.
pub const SANDBOX: &str = "sandbox.json";
/// What a sandbox is going to be, for whoever has to clear away half of it.
pub const DRAFT: &str = "draft.json";
/// The commit point of a container.
pub const CONTAINER: &str = "container.json";

#[derive(Clone, Debug)]
pub struct Files {
    root: PathBuf,
}

impl Files {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub fn sandboxes(&self) -> PathBuf {
        self.root.join("sandboxes")
    }

    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    pub fn sandbox(&self, id: &SandboxId) -> PathBuf {
        self.sandboxes().join(&id.0)
    }

    pub fn container(&self, id: &ContainerId) -> PathBuf {
        self.containers().join(&id.0)
    }
}

/// 64 hex digits, as everyone expects of a container.
pub fn new_id() -> String {
    let bytes: [u8; 32] = rand::random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
