//! One attempt of one container: image, configuration, creation, start, postStart hook.

use super::container::{self, Parts};
use super::context::Context;
use super::env::{self, Sources};
use super::state::SandboxFacts;
use super::{hooks, images, resources, security};
use crate::limits;
use crate::objects::Objects;
use crate::services::ServiceTable;
use crate::volumes::{EtcFiles, container_mounts};
use coracle_runtime::{ContainerId, Image};
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What an attempt needs to know.
pub struct Attempt {
    pub context: Arc<Context>,
    pub pod: Arc<Pod>,
    pub container: Container,
    pub number: u32,
    pub stale: Option<ContainerId>,
    pub sandbox: SandboxFacts,
    pub objects: Objects,
    /// The pod ends: stop as soon as nothing half-done is left.
    pub cancel: CancellationToken,
}

/// `state.waiting` in kubelet's words.
#[derive(Clone, Debug, PartialEq)]
pub struct StartFailure {
    pub reason: &'static str,
    pub message: String,
    /// The back-off of images applies, not the fixed wait.
    pub image: bool,
    /// The container was made, and is an attempt that ended.
    pub created: bool,
}

impl StartFailure {
    pub fn image(reason: &'static str, message: String) -> Self {
        Self { reason, message, image: true, created: false }
    }

    fn before(reason: &'static str, message: String) -> Self {
        Self { reason, message, image: false, created: false }
    }

    fn after(reason: &'static str, message: String) -> Self {
        Self { reason, message, image: false, created: true }
    }
}

impl Attempt {
    /// `Ok(None)`: cancelled before anything ran.
    pub async fn run(&self) -> Result<Option<ContainerId>, StartFailure> {
        let image = tokio::select! {
            image = images::ensure(&self.context, &self.pod, &self.container, &self.objects) => image?,
            () = self.cancel.cancelled() => return Ok(None),
        };
        if let Some(stale) = &self.stale {
            let removed = self.context.runtime.remove_container(stale).await;
            removed.map_err(|e| StartFailure::before("CreateContainerError", e.to_string()))?;
        }
        let spec =
            self.spec(image).await.map_err(|message| self.failed_before("CreateContainerConfigError", message))?;
        if self.cancel.is_cancelled() {
            return Ok(None);
        }
        let created = self.context.runtime.create_container(&self.sandbox.id, &spec).await;
        let id = created.map_err(|e| self.failed_before("CreateContainerError", e.to_string()))?;
        self.tell(false, "Created", format!("Created container: {}", self.container.name));
        if let Err(error) = self.context.runtime.start_container(&id).await {
            self.tell(true, "Failed", format!("Error: {error}"));
            return Err(StartFailure::after("RunContainerError", error.to_string()));
        }
        self.tell(false, "Started", format!("Started container {}", self.container.name));
        self.post_start(&id).await?;
        Ok(Some(id))
    }

    fn tell(&self, warning: bool, reason: &'static str, message: String) {
        self.context.container_event(&self.pod, &self.container.name, warning, reason, message);
    }

    fn failed_before(&self, reason: &'static str, message: String) -> StartFailure {
        self.tell(true, "Failed", format!("Error: {message}"));
        StartFailure::before(reason, message)
    }

    async fn spec(&self, image: Image) -> Result<coracle_runtime::ContainerSpec, String> {
        let security = security::security(&self.pod, &self.container, &image, &self.context.paths.seccomp)?;
        let services =
            self.services().await.ok_or("services have not yet been read at least once, cannot construct envvars")?;
        let node = self.context.node_context(self.sandbox.ip);
        let sources = Sources { pod: &self.pod, node: &node, objects: &self.objects, services: &services };
        let environment = env::render(&sources, &self.container)?;
        let (mounts, environment) = self.mounts(environment).await?;
        let resources = resources::of_container(&self.pod, &self.container, self.context.host.memory_bytes);
        let parts = Parts { attempt: self.number, image, environment, mounts, resources, security };
        Ok(container::render(&self.container, parts))
    }

    /// They are usually known; right after the node's start they are about to be.
    async fn services(&self) -> ServiceTable {
        let mut table = self.context.services.table();
        let known = tokio::time::timeout(limits::SERVICES_WAIT, table.wait_for(Option::is_some)).await;
        known.ok()?.ok()?.clone()
    }

    /// Off the async threads: subpaths are opened and bound.
    async fn mounts(
        &self,
        environment: env::Environment,
    ) -> Result<(Vec<coracle_runtime::Mount>, env::Environment), String> {
        let uid = self.pod.metadata.uid.clone().unwrap_or_default();
        let folder = self.context.folder(&uid);
        let etc = folder.etc();
        let etc =
            EtcFiles { hosts: etc.join("hosts"), hostname: etc.join("hostname"), resolv: etc.join("resolv.conf") };
        let (pod, container, attempt) = (self.pod.clone(), self.container.clone(), self.number);
        let done = tokio::task::spawn_blocking(move || {
            let lookup = |name: &str| environment.get(name);
            let mounts = container_mounts(&folder, &pod, &container, &etc, attempt, &lookup);
            mounts.map(|mounts| (mounts, environment))
        });
        done.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
    }

    /// A hook that fails takes its container with it.
    async fn post_start(&self, id: &ContainerId) -> Result<(), StartFailure> {
        let Some(hook) = self.container.lifecycle.as_ref().and_then(|l| l.post_start.as_ref()) else { return Ok(()) };
        let host = host(self.sandbox.ip);
        let ran = tokio::select! {
            ran = hooks::run(&self.context, &self.container, id, &host, hook) => ran,
            () = self.cancel.cancelled() => return Ok(()),
        };
        let Err(why) = ran else { return Ok(()) };
        self.tell(true, "FailedPostStartHook", format!("{}: {why}", hook_name("PostStartHook", hook)));
        self.tell(false, "Killing", "FailedPostStartHook".to_owned());
        let grace = super::plan::grace_of(&self.pod);
        if let Err(error) = self.context.runtime.stop_container(id, grace).await {
            tracing::warn!(%error, container = self.container.name, "a container whose hook failed could not be stopped");
        }
        Err(StartFailure::after("PostStartHookError", why))
    }
}

/// As kubelet names a hook that failed.
pub fn hook_name(what: &str, hook: &LifecycleHandler) -> String {
    let kind = if hook.exec.is_some() {
        "Exec lifecycle hook"
    } else if hook.http_get.is_some() {
        "HTTP lifecycle hook"
    } else {
        "Lifecycle hook"
    };
    format!("{what} failed: {kind}")
}

pub fn host(ip: Option<Ipv4Addr>) -> String {
    ip.map(|ip| ip.to_string()).unwrap_or_default()
}
