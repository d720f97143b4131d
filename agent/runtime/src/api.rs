//! What a container runtime does for the agent. One suite (`tests/suite`) holds every implementation to it.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot};

/// A runtime's own name of a sandbox: 64 hex digits or fewer, safe in a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct SandboxId(pub String);

/// A runtime's own name of a container, likewise.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ContainerId(pub String);

/// The namespaces that a pod's containers share.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SandboxSpec {
    pub pod: PodIdentity,
    pub hostname: String,
    pub host_network: bool,
    pub host_pid: bool,
    pub host_ipc: bool,
    /// All containers in one PID namespace.
    pub share_pid: bool,
    pub sysctls: BTreeMap<String, String>,
    /// The pod's cgroup, relative to the hierarchy's root, e.g. `coracle-1a2b/burstable/pod<uid>`.
    pub cgroup: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct PodIdentity {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sandbox {
    pub id: SandboxId,
    pub pod: PodIdentity,
    /// Where the network namespace is pinned; `None` on the host's network.
    pub netns: Option<PathBuf>,
    pub created_at: Timestamp,
    /// False once its namespaces are gone (a reboot): the pod needs a new one.
    pub ready: bool,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ContainerSpec {
    pub name: String,
    /// Restart count when it was created.
    pub attempt: u32,
    /// As the pod names it.
    pub image: String,
    /// As [`Image::id`] names it.
    pub image_id: String,
    /// Replaces the image's entrypoint; with it, the image's arguments do not count.
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub working_dir: Option<String>,
    /// Added to the image's, later ones win.
    pub env: Vec<(String, String)>,
    pub mounts: Vec<Mount>,
    pub devices: Vec<PathBuf>,
    pub tty: bool,
    pub stdin: bool,
    /// Close stdin after the first attach ends.
    pub stdin_once: bool,
    pub resources: Resources,
    pub security: Security,
    /// Kept with the container for whoever asks, e.g. a hash of the pod's template of it.
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mount {
    pub source: PathBuf,
    /// Absolute, inside the container.
    pub target: String,
    pub read_only: bool,
    pub propagation: Propagation,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Propagation {
    #[default]
    Private,
    HostToContainer,
    Bidirectional,
}

/// Limits of one cgroup; `None` leaves the kernel's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Resources {
    pub cpu_shares: Option<u64>,
    /// Microseconds per `cpu_period`.
    pub cpu_quota: Option<i64>,
    pub cpu_period: Option<u64>,
    pub memory_limit_bytes: Option<i64>,
    pub pids_limit: Option<i64>,
    /// Warned about and left out where the kernel refuses it.
    pub oom_score_adj: i32,
}

#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Security {
    pub privileged: bool,
    /// Overrides the image's user.
    pub user: Option<u32>,
    pub group: Option<u32>,
    pub supplemental_groups: Vec<u32>,
    pub read_only_root: bool,
    /// Without the `CAP_` prefix; `ALL` stands for all.
    pub add_capabilities: Vec<String>,
    pub drop_capabilities: Vec<String>,
    pub no_new_privileges: bool,
    pub seccomp: Seccomp,
    /// `procMount: Unmasked`.
    pub unmasked_proc: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Seccomp {
    Unconfined,
    #[default]
    RuntimeDefault,
    /// A profile in the OCI JSON form on the node.
    Localhost(PathBuf),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    pub id: ContainerId,
    pub sandbox: SandboxId,
    pub pod: PodIdentity,
    pub name: String,
    pub attempt: u32,
    pub image: String,
    pub image_id: String,
    pub labels: BTreeMap<String, String>,
    pub created_at: Timestamp,
    pub state: State,
}

#[derive(Clone, Debug, PartialEq)]
pub enum State {
    Created,
    Running {
        started_at: Timestamp,
        pid: i32,
    },
    Exited {
        /// `None` where it never ran.
        started_at: Option<Timestamp>,
        finished_at: Timestamp,
        /// 128 + signal where a signal ended it.
        exit_code: i32,
        signal: Option<i32>,
        oom_killed: bool,
        /// Why it could not start or be followed, for people; else empty.
        message: String,
    },
}

/// Something about a container changed: look again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerEvent {
    pub pod_uid: String,
    pub container: ContainerId,
}

#[derive(Clone, Debug, Default)]
pub struct ExecSpec {
    pub command: Vec<String>,
    pub tty: bool,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// A running exec or attach. Dropping it ends an exec's process and detaches an attach.
#[derive(Debug)]
pub struct Session {
    /// Dropped by the user at the end of input.
    pub stdin: Option<mpsc::Sender<Bytes>>,
    /// Ends when both outputs are at their end.
    pub output: mpsc::Receiver<(OutputStream, Bytes)>,
    pub resize: mpsc::Sender<TerminalSize>,
    /// The exit code.
    pub exit: oneshot::Receiver<Result<i32, RuntimeError>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    pub columns: u16,
    pub rows: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum OutputStream {
    Stdout,
    Stderr,
}

/// What of a container's log to read.
#[derive(Clone, Debug, Default)]
pub struct LogQuery {
    pub follow: bool,
    pub since: Option<Timestamp>,
    pub tail_lines: Option<u64>,
}

/// One line as the container wrote it, the newline included if it wrote one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub at: Timestamp,
    pub stream: OutputStream,
    pub bytes: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The digest of its configuration: `sha256:…`.
    pub id: String,
    /// Full names, e.g. `docker.io/library/busybox:1.36`.
    pub names: Vec<String>,
    /// `name@sha256:…` of manifests it was pulled by.
    pub digests: Vec<String>,
    /// Unpacked size.
    pub bytes: u64,
    pub created_at: Option<Timestamp>,
    /// The image's own user, for `runAsNonRoot`: `None` where it names none (root).
    pub user: Option<String>,
}

/// For a registry that asks.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RegistryAuth {
    pub username: String,
    pub password: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Since the container started.
    pub cpu_nanos: u64,
    pub memory_working_set_bytes: u64,
    pub memory_usage_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// As `nodeInfo.containerRuntimeVersion` has it, e.g. `coracle://0.1.0`.
    pub version: String,
}

/// Containers and images on this node. Everything it is told is on disk before it returns: whoever opens the same
/// data later finds the same sandboxes and containers, running or not.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    async fn info(&self) -> Result<RuntimeInfo, RuntimeError>;

    async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<Sandbox, RuntimeError>;
    /// Kills what runs in it, takes its namespaces down, deletes it and its containers. No error if it is not there.
    async fn remove_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError>;
    async fn sandboxes(&self) -> Result<Vec<Sandbox>, RuntimeError>;

    async fn create_container(&self, sandbox: &SandboxId, spec: &ContainerSpec) -> Result<ContainerId, RuntimeError>;
    async fn start_container(&self, id: &ContainerId) -> Result<(), RuntimeError>;
    /// The image's stop signal (SIGTERM), then SIGKILL after `grace`; returns when it has exited.
    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError>;
    /// Deletes an exited container with its log. No error if it is not there.
    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError>;
    async fn containers(&self) -> Result<Vec<Container>, RuntimeError>;
    async fn container(&self, id: &ContainerId) -> Result<Container, RuntimeError>;
    fn events(&self) -> broadcast::Receiver<ContainerEvent>;
    async fn stats(&self, id: &ContainerId) -> Result<Stats, RuntimeError>;

    async fn exec(&self, id: &ContainerId, spec: &ExecSpec) -> Result<Session, RuntimeError>;
    /// Streams of the container itself; `spec.command` does not count.
    async fn attach(&self, id: &ContainerId, spec: &ExecSpec) -> Result<Session, RuntimeError>;
    async fn logs(
        &self,
        id: &ContainerId,
        query: &LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, RuntimeError>>, RuntimeError>;

    async fn images(&self) -> Result<Vec<Image>, RuntimeError>;
    /// By any name Kubernetes accepts: short, full, by digest, by id.
    async fn image(&self, name: &str) -> Result<Option<Image>, RuntimeError>;
    async fn pull_image(&self, name: &str, auth: Option<&RegistryAuth>) -> Result<Image, RuntimeError>;
    async fn remove_image(&self, name: &str) -> Result<(), RuntimeError>;
}

/// Why a runtime refused or failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    #[error("{what} {id:?} is not there")]
    NotFound { what: &'static str, id: String },
    #[error("container {id:?} is {state}, so it cannot be {action}")]
    WrongState { id: String, state: String, action: &'static str },
    #[error("image {name:?} is not a valid reference: {why}")]
    BadReference { name: String, why: String },
    /// The registry could not be reached or refused.
    #[error("failed to pull image {name:?}: {why}")]
    Pull { name: String, why: String },
    /// An archive or layer that is damaged or hostile.
    #[error("{origin} is not a valid image: {why}")]
    BadImage { origin: String, why: String },
    /// The container's process could not be made: no such command, no such user, a mount that failed.
    #[error("{0}")]
    Start(String),
    /// The host lacks something; `fix` says what to do.
    #[error("{what}; {fix}")]
    Host { what: String, fix: String },
    #[error("{doing}: {why}")]
    Io { doing: String, why: String },
    #[error("the container engine failed: {0}")]
    Engine(String),
}
