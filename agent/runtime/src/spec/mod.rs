//! A container's OCI runtime spec and the shim's job, as a pure function of what the pod, its image and its sandbox
//! say. What needs the container's own files (names of users) or an order of steps that libcontainer lacks (seccomp
//! before dropping capabilities) is in the job, not in the spec.

mod command;
mod linux;
mod mounts;

use crate::frame;
use crate::privilege::{self, Privileges, User};
use crate::seccomp::Filter;
use crate::shim::job::{Job, Process, Propagated, Root};
use crate::{ContainerId, ContainerSpec, RuntimeError, SandboxSpec};
use oci_spec::image::Config as ImageConfig;
use oci_spec::runtime::{Process as OciProcess, Root as OciRoot, Spec, User as OciUser};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Everything that a container is made from.
pub struct Input<'a> {
    pub id: &'a ContainerId,
    pub container: &'a ContainerSpec,
    pub image: &'a ImageConfig,
    pub sandbox: &'a SandboxSpec,
    pub namespaces: &'a Namespaces,
    /// The container's folder.
    pub folder: &'a Path,
    /// The image's layers, topmost first.
    pub layers: Vec<PathBuf>,
    pub host: &'a Host,
    pub seccomp: Filter,
    /// Device files the pod names, as they are on the host.
    pub devices: Vec<Device>,
}

/// Where a sandbox's namespaces are pinned; `None` for the host's, or for the container's own PIDs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    pub net: Option<PathBuf>,
    pub ipc: Option<PathBuf>,
    pub uts: Option<PathBuf>,
    pub pid: Option<PathBuf>,
    /// `/dev/shm` of the pod.
    pub shm: PathBuf,
}

/// What this host has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Capabilities that can be handed on.
    pub capabilities: BTreeSet<String>,
    /// Folders of version 1 controllers to show in the container, by name; `None` on version 2.
    pub controllers: Option<Vec<(String, PathBuf)>>,
    /// Where shims live.
    pub shim_cgroup: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub path: PathBuf,
    pub block: bool,
    pub major: u64,
    pub minor: u64,
    pub mode: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    pub spec: Spec,
    pub job: Job,
}

/// The container's cgroup is the pod's child of its own name.
pub fn cgroup_of(sandbox: &SandboxSpec, id: &ContainerId) -> String {
    format!("{}/{}", sandbox.cgroup.trim_matches('/'), id.0)
}

pub fn render(input: Input<'_>) -> Result<Rendered, RuntimeError> {
    let cgroup = cgroup_of(input.sandbox, input.id);
    let privileges = privileges(&input)?;
    let process = Process {
        args: command::args(input.container, input.image)?,
        env: command::env(input.container, input.image, &hostname(input.sandbox)),
        cwd: command::cwd(input.container, input.image)?,
        tty: input.container.tty,
        privileges,
    };
    let (mounts, propagated) = mounts::render(&input, &cgroup)?;
    let shared = propagated.iter().any(|one: &Propagated| one.bidirectional);
    let mut root = OciRoot::default();
    root.set_path(input.folder.join(crate::shim::job::ROOT))
        .set_readonly(Some(input.container.security.read_only_root));
    let mut spec = Spec::default();
    spec.set_root(Some(root))
        .set_process(Some(self::process(process.tty, process.privileges.no_new_privileges)))
        .set_mounts(Some(mounts))
        .set_hostname(None)
        .set_hooks(None)
        .set_annotations(None)
        .set_linux(Some(linux::render(&input, &cgroup, shared)));
    let job = Job {
        version: frame::VERSION,
        container: input.id.0.clone(),
        cgroup,
        shim_cgroup: input.host.shim_cgroup.clone(),
        root: Root::Overlay(input.layers),
        process,
        stdin: input.container.stdin,
        stdin_once: input.container.stdin_once,
        oom_score_adj: input.container.resources.oom_score_adj.clamp(-1000, 1000),
        propagated,
    };
    Ok(Rendered { spec, job })
}

/// What libcontainer is told of any process: root with every capability, for the shim's payload takes them away itself.
pub fn process(tty: bool, no_new_privileges: bool) -> OciProcess {
    let mut user = OciUser::default();
    user.set_uid(0).set_gid(0);
    let mut process = OciProcess::default();
    process
        .set_terminal(Some(tty))
        .set_user(user)
        .set_args(Some(vec!["payload".to_owned()]))
        .set_env(Some(vec!["PATH=/".to_owned()]))
        .set_cwd("/".into())
        .set_capabilities(None)
        .set_rlimits(None)
        .set_no_new_privileges(Some(no_new_privileges))
        .set_oom_score_adj(None);
    process
}

fn privileges(input: &Input<'_>) -> Result<Privileges, RuntimeError> {
    let security = &input.container.security;
    let guarded = input.host.controllers.is_some();
    Ok(Privileges {
        user: User { image: input.image.user().clone().unwrap_or_default(), uid: security.user, gid: security.group },
        supplemental_groups: security.supplemental_groups.clone(),
        capabilities: privilege::plan(security, &input.host.capabilities, guarded).map_err(RuntimeError::Start)?,
        // As kubelet: a privileged container may always gain privileges.
        no_new_privileges: security.no_new_privileges && !security.privileged,
        seccomp: if security.privileged { Filter::Unconfined } else { input.seccomp.clone() },
    })
}

fn hostname(sandbox: &SandboxSpec) -> String {
    sandbox.hostname.clone()
}

#[cfg(test)]
mod tests;
