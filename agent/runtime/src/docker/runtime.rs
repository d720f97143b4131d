//! The trait, method by method.

use super::engine::{Docker, wrong_state};
use super::error::of;
use super::{images, logs, session};
use crate::{
    Container, ContainerEvent, ContainerId, ContainerSpec, ExecSpec, Image, LogLine, LogQuery, RegistryAuth, Runtime,
    RuntimeError, RuntimeInfo, Sandbox, SandboxId, SandboxSpec, Session, State, Stats,
};
use async_trait::async_trait;
use bollard::models::ContainerStatsResponse;
use bollard::query_parameters::StatsOptionsBuilder;
use futures::StreamExt;
use futures::stream::BoxStream;
use std::time::Duration;
use tokio::sync::broadcast;

#[async_trait]
impl Runtime for Docker {
    async fn info(&self) -> Result<RuntimeInfo, RuntimeError> {
        Ok(RuntimeInfo { version: self.version.clone() })
    }

    async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<Sandbox, RuntimeError> {
        self.make_sandbox(spec).await
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        self.delete_sandbox(id).await
    }

    async fn sandboxes(&self) -> Result<Vec<Sandbox>, RuntimeError> {
        self.all_sandboxes().await
    }

    async fn create_container(&self, sandbox: &SandboxId, spec: &ContainerSpec) -> Result<ContainerId, RuntimeError> {
        self.make_container(sandbox, spec).await
    }

    async fn start_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.start(id).await
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
        self.stop(id, grace).await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.delete_container(id).await
    }

    async fn containers(&self) -> Result<Vec<Container>, RuntimeError> {
        self.all_containers().await
    }

    async fn container(&self, id: &ContainerId) -> Result<Container, RuntimeError> {
        Ok(self.look(id).await?.0)
    }

    fn events(&self) -> broadcast::Receiver<ContainerEvent> {
        self.events.subscribe()
    }

    async fn stats(&self, id: &ContainerId) -> Result<Stats, RuntimeError> {
        self.ensure_running(id, "measured").await?;
        let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
        let mut answers = Box::pin(self.api.stats(&id.0, Some(options)));
        match answers.next().await {
            Some(found) => Ok(stats(&found.map_err(of("container", &id.0))?)),
            None => Err(RuntimeError::Engine("Docker gives no statistics".to_owned())),
        }
    }

    async fn exec(&self, id: &ContainerId, spec: &ExecSpec) -> Result<Session, RuntimeError> {
        self.ensure_running(id, "used to run a command").await?;
        session::exec(&self.api, id, spec).await
    }

    async fn attach(&self, id: &ContainerId, spec: &ExecSpec) -> Result<Session, RuntimeError> {
        self.ensure_running(id, "attached to").await?;
        session::attach(&self.api, id, spec).await
    }

    async fn logs(
        &self,
        id: &ContainerId,
        query: &LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, RuntimeError>>, RuntimeError> {
        logs::logs(&self.api, id, query).await
    }

    async fn images(&self) -> Result<Vec<Image>, RuntimeError> {
        images::list(&self.api).await
    }

    async fn image(&self, name: &str) -> Result<Option<Image>, RuntimeError> {
        images::find_named(&self.api, name).await
    }

    async fn pull_image(&self, name: &str, auth: Option<&RegistryAuth>) -> Result<Image, RuntimeError> {
        images::pull(&self.api, name, auth).await
    }

    async fn remove_image(&self, name: &str) -> Result<(), RuntimeError> {
        images::remove(&self.api, name).await
    }
}

impl Docker {
    async fn ensure_running(&self, id: &ContainerId, action: &'static str) -> Result<(), RuntimeError> {
        let (container, _) = self.look(id).await?;
        match container.state {
            State::Running { .. } => Ok(()),
            _ => Err(wrong_state(&container, action)),
        }
    }
}

/// Working set as the kubelet counts it: what is used less what could be dropped at once.
fn stats(found: &ContainerStatsResponse) -> Stats {
    let usage = found.memory_stats.as_ref().and_then(|memory| memory.usage).unwrap_or_default();
    let details = found.memory_stats.as_ref().and_then(|memory| memory.stats.as_ref());
    let detail = |name: &str| details.and_then(|details| details.get(name)).copied();
    // v1 counts children under "total_", v2 always.
    let inactive = detail("total_inactive_file").or_else(|| detail("inactive_file")).unwrap_or_default();
    let cpu = found.cpu_stats.as_ref().and_then(|cpu| cpu.cpu_usage.as_ref()).and_then(|usage| usage.total_usage);
    Stats {
        cpu_nanos: cpu.unwrap_or_default(),
        memory_working_set_bytes: usage.saturating_sub(inactive),
        memory_usage_bytes: usage,
    }
}
