//! The embedded runtime: sandboxes are pinned namespaces, each container has a shim that outlives the agent. What it
//! was told is on disk, so opening the same folder later finds everything again.

mod containers;
mod files;
mod follow;
mod logs;
mod namespaces;
mod nursery;
mod open;
mod records;
mod sandboxes;
mod sessions;
mod start;
mod table;
mod tail;
mod wire;

use crate::cgroup::Cgroups;
use crate::images::ImageStore;
use crate::spec::Host;
use crate::{
    Container, ContainerEvent, ContainerId, ContainerSpec, ExecSpec, Image, LogLine, LogQuery, RegistryAuth, Runtime,
    RuntimeError, RuntimeInfo, Sandbox, SandboxId, SandboxSpec, Session, Stats, images,
};
use async_trait::async_trait;
use files::Files;
use futures::stream::BoxStream;
use nursery::Nursery;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use table::Table;
use tokio::sync::broadcast;

/// What the runtime needs to know to begin.
#[derive(Clone)]
pub struct EmbeddedConfig {
    /// Its own folder, absolute; on a file system that can hold overlay's upper layers.
    pub dir: PathBuf,
    /// What starts a shim, e.g. `/proc/self/exe shim`; the program must hand the rest to [`crate::shim_main`].
    pub shim_command: Vec<OsString>,
    /// The cgroup that holds everything of this node, relative to the hierarchies; pods' groups are expected below.
    pub cgroup_root: String,
    pub images: Arc<ImageStore>,
}

/// Containers without a container engine.
#[derive(Clone)]
pub struct Embedded(Arc<Inner>);

struct Inner {
    files: Files,
    nursery: Nursery,
    shim_command: Vec<OsString>,
    cgroups: Cgroups,
    host: Host,
    images: Arc<ImageStore>,
    table: Table,
    events: broadcast::Sender<ContainerEvent>,
}

impl Embedded {
    /// Finds what is there and follows what runs. Has to be called within a tokio runtime.
    pub fn open(config: EmbeddedConfig) -> Result<Self, RuntimeError> {
        open::open(config).map(Self)
    }
}

#[async_trait]
impl Runtime for Embedded {
    async fn info(&self) -> Result<RuntimeInfo, RuntimeError> {
        Ok(RuntimeInfo { version: format!("coracle://{}", env!("CARGO_PKG_VERSION")) })
    }

    async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<Sandbox, RuntimeError> {
        sandboxes::run(&self.0, spec.clone()).await
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        sandboxes::remove(&self.0, id.clone()).await
    }

    async fn sandboxes(&self) -> Result<Vec<Sandbox>, RuntimeError> {
        Ok(self.0.table.sandboxes().iter().map(|record| sandboxes::shown(&self.0, record)).collect())
    }

    async fn create_container(&self, sandbox: &SandboxId, spec: &ContainerSpec) -> Result<ContainerId, RuntimeError> {
        containers::create(&self.0, sandbox, spec.clone()).await
    }

    async fn start_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        start::start(&self.0, id.clone()).await
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
        containers::stop(&self.0, id, grace).await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        containers::remove(&self.0, id.clone()).await
    }

    async fn containers(&self) -> Result<Vec<Container>, RuntimeError> {
        Ok(self.0.table.containers())
    }

    async fn container(&self, id: &ContainerId) -> Result<Container, RuntimeError> {
        self.0.table.container(id)
    }

    fn events(&self) -> broadcast::Receiver<ContainerEvent> {
        self.0.events.subscribe()
    }

    async fn stats(&self, id: &ContainerId) -> Result<Stats, RuntimeError> {
        let record = self.0.table.record(id)?;
        Ok(self.0.cgroups.stats(&record.cgroup))
    }

    async fn exec(&self, id: &ContainerId, spec: &ExecSpec) -> Result<Session, RuntimeError> {
        sessions::exec(&self.0, id, spec).await
    }

    async fn attach(&self, id: &ContainerId, spec: &ExecSpec) -> Result<Session, RuntimeError> {
        sessions::attach(&self.0, id, spec).await
    }

    async fn logs(
        &self,
        id: &ContainerId,
        query: &LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, RuntimeError>>, RuntimeError> {
        self.0.table.record(id)?;
        logs::read(self.0.files.container(id), query.clone())
    }

    async fn images(&self) -> Result<Vec<Image>, RuntimeError> {
        let store = Arc::clone(&self.0.images);
        blocking(move || store.list()).await
    }

    async fn image(&self, name: &str) -> Result<Option<Image>, RuntimeError> {
        let (store, name) = (Arc::clone(&self.0.images), name.to_owned());
        blocking(move || store.resolve(&name)).await
    }

    async fn pull_image(&self, name: &str, auth: Option<&RegistryAuth>) -> Result<Image, RuntimeError> {
        self.0.images.pull(name, auth, &images::silent()).await
    }

    async fn remove_image(&self, name: &str) -> Result<(), RuntimeError> {
        let (store, name) = (Arc::clone(&self.0.images), name.to_owned());
        blocking(move || store.remove(&name)).await
    }
}

/// Runs what touches the disk or the kernel for long off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RuntimeError> + Send + 'static,
) -> Result<T, RuntimeError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(broken("running a task", &error)))
}

/// A task of ours panicked or was cancelled.
fn broken(doing: &str, error: &tokio::task::JoinError) -> RuntimeError {
    RuntimeError::Io { doing: doing.to_owned(), why: error.to_string() }
}

fn io_failed(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> RuntimeError {
    move |error| RuntimeError::Io { doing: doing.into(), why: error.to_string() }
}
