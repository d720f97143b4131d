//! The files in a container's folder that agent and shim share: what is to be run, and what became of it.

use crate::privilege::Privileges;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Written by the agent: what the shim needs beside the OCI spec.
pub const JOB: &str = "job.json";
/// The OCI runtime spec, where libcontainer looks for it.
pub const CONFIG: &str = "config.json";
/// Written by the shim once the container runs.
pub const RUNNING: &str = "running.json";
/// Written by the shim once the container has ended.
pub const EXIT: &str = "exit.json";
/// The shim's socket.
pub const SOCKET: &str = "shim.sock";
/// Locked by the shim as long as it lives.
pub const LOCK: &str = "shim.lock";
/// What the shim says on its standard error: nothing, if all is well.
pub const COMPLAINTS: &str = "shim.log";
/// The folder of log files.
pub const LOGS: &str = "log";
/// Where the overlay is mounted, in the container's own mount namespace only.
pub const ROOT: &str = "rootfs";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub version: u32,
    pub container: String,
    /// The container's cgroup, relative to the hierarchies.
    pub cgroup: String,
    /// Where shims live, so that stopping the agent's own cgroup does not stop them.
    pub shim_cgroup: String,
    pub root: Root,
    pub process: Process,
    pub stdin: bool,
    pub stdin_once: bool,
    pub oom_score_adj: i32,
    /// Mounts whose propagation libcontainer can't set; prepared by the launcher under `source`.
    pub propagated: Vec<Propagated>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Root {
    /// Read-only layers, topmost first; what the container writes goes to its folder.
    Overlay(Vec<PathBuf>),
}

/// One process of a container, its first one or an exec's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    pub cwd: String,
    pub tty: bool,
    pub privileges: Privileges,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Propagated {
    /// On the host.
    pub source: PathBuf,
    /// Where the launcher puts a copy of the mount that has the propagation asked for; the spec mounts from there.
    pub staged: PathBuf,
    /// Shared with the host; else only receiving from it.
    pub bidirectional: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub pid: i32,
    pub started_at: Timestamp,
}

/// How a container ended, or that it never began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub started_at: Option<Timestamp>,
    pub finished_at: Timestamp,
    /// 128 + signal where a signal ended it.
    pub code: i32,
    pub signal: Option<i32>,
    pub oom_killed: bool,
    pub message: String,
}
