//! The connection to Docker and what it is told about sandboxes and containers.

use super::cgroup::{self, Driver};
use super::error::{self, engine, of, status, text};
use super::labels::{self, ContainerRecord};
use super::{builtin, events, images, limits, spec, state};
use crate::images::Digest;
use crate::{
    Container, ContainerEvent, ContainerId, ContainerSpec, Image, RuntimeError, Sandbox, SandboxId, SandboxSpec,
    Seccomp, State,
};
use bollard::API_DEFAULT_VERSION;
use bollard::models::SystemInfoCgroupDriverEnum;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, StartContainerOptions, WaitContainerOptions,
};
use futures::{StreamExt, TryStreamExt};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::broadcast;

/// How to reach Docker and who we are to it.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// Usually `/run/docker.sock`.
    pub socket: PathBuf,
    /// The node's own data directory: tells its containers from those of other nodes on the same Docker, and takes
    /// temporary files.
    pub data_dir: PathBuf,
    /// The program itself, for the sandboxes' image: usually `/proc/self/exe`.
    pub program: PathBuf,
}

/// Docker as a [`crate::Runtime`].
#[derive(Debug)]
pub struct Docker {
    pub(super) api: bollard::Docker,
    pub(super) version: String,
    pub(super) events: broadcast::Sender<ContainerEvent>,
    owner: String,
    driver: Driver,
    pause_image: String,
    following: tokio::task::JoinHandle<()>,
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl Docker {
    /// Finds Docker, loads the built-in images and begins to follow events.
    pub async fn connect(config: &DockerConfig) -> Result<Docker, RuntimeError> {
        let unreachable = |why: String| RuntimeError::Host {
            what: format!("Docker does not answer at {}: {why}", config.socket.display()),
            fix: "start Docker or use --runtime embedded".to_owned(),
        };
        let socket = config.socket.display().to_string();
        let api = bollard::Docker::connect_with_unix(&socket, limits::ANSWER_SECONDS, API_DEFAULT_VERSION)
            .map_err(|e| unreachable(e.to_string()))?;
        let api = api.negotiate_version().await.map_err(|e| unreachable(e.to_string()))?;
        let info = api.info().await.map_err(engine)?;
        let driver = match info.cgroup_driver {
            Some(SystemInfoCgroupDriverEnum::SYSTEMD) => Driver::Systemd,
            _ => Driver::Cgroupfs,
        };
        let data_dir = config.data_dir.canonicalize().map_err(|e| RuntimeError::Io {
            doing: format!("opening {}", config.data_dir.display()),
            why: e.to_string(),
        })?;
        let owner = Digest::of(data_dir.as_os_str().as_encoded_bytes()).hex()[..12].to_owned();
        let pause_image = builtin::ensure(&api, &config.program, &data_dir).await?;
        let (events, _) = broadcast::channel(limits::EVENTS);
        let following = tokio::spawn(events::follow(api.clone(), owner.clone(), events.clone()));
        let version = format!("docker://{}", info.server_version.unwrap_or_default());
        Ok(Docker { api, version, events, owner, driver, pause_image, following })
    }

    /// Loads an archive that `docker save` wrote.
    pub async fn import(&self, path: &Path) -> Result<Vec<Image>, RuntimeError> {
        images::load_file(&self.api, path).await
    }

    pub(super) async fn make_sandbox(&self, spec: &SandboxSpec) -> Result<Sandbox, RuntimeError> {
        let parent = cgroup::parent(self.driver, &spec.cgroup);
        let body = spec::sandbox(&self.owner, &self.pause_image, parent, spec);
        let name = spec::name(&["POD", &spec.pod.name, &spec.pod.namespace]);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let id = self.api.create_container(Some(options), body).await.map_err(error::start)?.id;
        if let Err(e) = self.api.start_container(&id, None::<StartContainerOptions>).await {
            self.delete(&id, true).await?;
            return Err(error::start(e));
        }
        Ok(self.sandbox(&SandboxId(id)).await?.0)
    }

    pub(super) async fn sandbox(&self, id: &SandboxId) -> Result<(Sandbox, SandboxSpec), RuntimeError> {
        let found = self.api.inspect_container(&id.0, None::<InspectContainerOptions>).await;
        let found = found.map_err(of("sandbox", &id.0))?;
        state::sandbox(&found).ok_or_else(|| RuntimeError::NotFound { what: "sandbox", id: id.0.clone() })
    }

    pub(super) async fn all_sandboxes(&self) -> Result<Vec<Sandbox>, RuntimeError> {
        let ids = self.ids(&[format!("{}={}", labels::OWNER, self.owner)]).await?;
        let found = self.inspect_all(ids).await?;
        Ok(found.iter().filter_map(state::sandbox).map(|(sandbox, _)| sandbox).collect())
    }

    pub(super) async fn delete_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        let cgroup = match self.sandbox(id).await {
            Ok((_, spec)) => Some(spec.cgroup),
            Err(RuntimeError::NotFound { .. }) => None,
            Err(e) => return Err(e),
        };
        for container in self.ids(&[format!("{}={}", labels::SANDBOX, id.0)]).await? {
            self.delete(&container, true).await?;
        }
        self.delete(&id.0, true).await?;
        match cgroup.filter(|_| self.driver == Driver::Cgroupfs) {
            Some(cgroup) => crate::remove_pod_cgroup(&cgroup),
            None => Ok(()),
        }
    }

    pub(super) async fn make_container(
        &self,
        sandbox: &SandboxId,
        spec: &ContainerSpec,
    ) -> Result<ContainerId, RuntimeError> {
        let (_, pod) = self.sandbox(sandbox).await?;
        let image = images::find(&self.api, &spec.image_id).await?;
        let image = image.ok_or_else(|| RuntimeError::NotFound { what: "image", id: spec.image_id.clone() })?;
        let profile = match &spec.security.seccomp {
            Seccomp::Localhost(path) => Some(read_profile(path).await?),
            Seccomp::Unconfined | Seccomp::RuntimeDefault => None,
        };
        let parent = cgroup::parent(self.driver, &pod.cgroup);
        let body = spec::container(&self.owner, (sandbox, &pod, parent), spec, profile, image.user.as_deref());
        let name = spec::name(&[&spec.name, &pod.pod.name, &pod.pod.namespace, &spec.attempt.to_string()]);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let created = self.api.create_container(Some(options), body).await;
        created.map(|created| ContainerId(created.id)).map_err(error::start)
    }

    pub(super) async fn start(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let (container, record) = self.look(id).await?;
        if container.state != State::Created {
            return Err(wrong_state(&container, "started"));
        }
        self.api.start_container(&id.0, None::<StartContainerOptions>).await.map_err(error::start)?;
        if record.oom_score_adj < 0 {
            self.lower_oom_score(id, record.oom_score_adj).await?;
        }
        Ok(())
    }

    /// Docker would fail to start it where the kernel does not allow this.
    async fn lower_oom_score(&self, id: &ContainerId, score: i32) -> Result<(), RuntimeError> {
        if let State::Running { pid, .. } = self.look(id).await?.0.state
            && let Err(e) = tokio::fs::write(format!("/proc/{pid}/oom_score_adj"), score.to_string()).await
        {
            tracing::warn!(container = id.0, score, error = %e, "the kernel refuses the OOM score");
        }
        Ok(())
    }

    pub(super) async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
        let (container, _) = self.look(id).await?;
        if !matches!(container.state, State::Running { .. }) {
            return Ok(());
        }
        let signal = self.stop_signal(id).await?;
        if !grace.is_zero() {
            self.kill(id, &signal).await?;
            if tokio::time::timeout(grace, self.exited(id)).await.is_ok() {
                return Ok(());
            }
        }
        self.kill(id, "SIGKILL").await?;
        let late = || RuntimeError::Engine(format!("container {} does not end after SIGKILL", id.0));
        tokio::time::timeout(limits::KILLED, self.exited(id)).await.map_err(|_| late())?
    }

    async fn stop_signal(&self, id: &ContainerId) -> Result<String, RuntimeError> {
        let found = self.api.inspect_container(&id.0, None::<InspectContainerOptions>).await;
        let config = found.map_err(of("container", &id.0))?.config;
        Ok(config
            .and_then(|config| config.stop_signal)
            .filter(|s| !s.is_empty())
            .unwrap_or_else(|| "SIGTERM".to_owned()))
    }

    /// No error if it has ended meanwhile.
    async fn kill(&self, id: &ContainerId, signal: &str) -> Result<(), RuntimeError> {
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        match self.api.kill_container(&id.0, Some(options)).await {
            Err(e) if status(&e) == Some(409) => Ok(()),
            done => done.map_err(of("container", &id.0)),
        }
    }

    async fn exited(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        loop {
            let mut waited = Box::pin(self.api.wait_container(&id.0, None::<WaitContainerOptions>));
            // Any answer ends the wait; what became of it is looked at afterwards.
            let _answer = waited.next().await;
            match self.look(id).await {
                Ok((container, _)) if matches!(container.state, State::Running { .. }) => {}
                Ok(_) | Err(RuntimeError::NotFound { .. }) => return Ok(()),
                Err(e) => return Err(e),
            }
            tokio::time::sleep(limits::LOOK_AGAIN).await;
        }
    }

    pub(super) async fn delete_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        match self.look(id).await {
            Err(RuntimeError::NotFound { .. }) => Ok(()),
            Err(e) => Err(e),
            Ok((container, _)) if matches!(container.state, State::Running { .. }) => {
                Err(wrong_state(&container, "removed"))
            }
            Ok(_) => self.delete(&id.0, false).await,
        }
    }

    /// With its anonymous volumes. No error if it is not there or someone else removes it right now.
    async fn delete(&self, id: &str, force: bool) -> Result<(), RuntimeError> {
        let options = RemoveContainerOptionsBuilder::default().v(true).force(force).build();
        match self.api.remove_container(id, Some(options)).await {
            Err(e) if status(&e) == Some(404) => Ok(()),
            Err(e) if status(&e) == Some(409) && text(&e).contains("already in progress") => Ok(()),
            done => done.map_err(engine),
        }
    }

    pub(super) async fn look(&self, id: &ContainerId) -> Result<(Container, ContainerRecord), RuntimeError> {
        let found = self.api.inspect_container(&id.0, None::<InspectContainerOptions>).await;
        let found = found.map_err(of("container", &id.0))?;
        state::container(&found).ok_or_else(|| RuntimeError::NotFound { what: "container", id: id.0.clone() })
    }

    pub(super) async fn all_containers(&self) -> Result<Vec<Container>, RuntimeError> {
        let ids = self.ids(&[format!("{}={}", labels::OWNER, self.owner), labels::SANDBOX.to_owned()]).await?;
        let found = self.inspect_all(ids).await?;
        Ok(found.iter().filter_map(state::container).map(|(container, _)| container).collect())
    }

    async fn ids(&self, with: &[String]) -> Result<Vec<String>, RuntimeError> {
        let filters = HashMap::from([("label", with.to_vec())]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let found = self.api.list_containers(Some(options)).await.map_err(engine)?;
        Ok(found.into_iter().filter_map(|container| container.id).collect())
    }

    async fn inspect_all(
        &self,
        ids: Vec<String>,
    ) -> Result<Vec<bollard::models::ContainerInspectResponse>, RuntimeError> {
        let looks = futures::stream::iter(ids).map(|id| async move {
            match self.api.inspect_container(&id, None::<InspectContainerOptions>).await {
                Ok(found) => Ok(Some(found)),
                Err(e) if status(&e) == Some(404) => Ok(None),
                Err(e) => Err(engine(e)),
            }
        });
        looks.buffered(limits::INSPECTIONS).try_filter_map(|found| std::future::ready(Ok(found))).try_collect().await
    }
}

pub(super) fn wrong_state(container: &Container, action: &'static str) -> RuntimeError {
    let state = match container.state {
        State::Created => "created",
        State::Running { .. } => "running",
        State::Exited { .. } => "exited",
    };
    RuntimeError::WrongState { id: container.id.0.clone(), state: state.to_owned(), action }
}

async fn read_profile(path: &Path) -> Result<String, RuntimeError> {
    let failed = |why: String| RuntimeError::Start(format!("seccomp profile {}: {why}", path.display()));
    let size = tokio::fs::metadata(path).await.map_err(|e| failed(e.to_string()))?.len();
    if size > limits::PROFILE_BYTES {
        return Err(failed(format!("{size} bytes are too many")));
    }
    tokio::fs::read_to_string(path).await.map_err(|e| failed(e.to_string()))
}
