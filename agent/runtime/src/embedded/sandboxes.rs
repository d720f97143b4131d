//! Sandboxes: a pod's namespaces, made before its containers and taken down after them.

use super::files::{SANDBOX, new_id};
use super::records::SandboxRecord;
use super::{Inner, blocking, broken, containers, io_failed, namespaces, nursery};
use crate::durable::{self, Survives};
use crate::shim::{PAUSE, PAUSE_READY};
use crate::{Resources, RuntimeError, Sandbox, SandboxId, SandboxSpec};
use jiff::Timestamp;
use nix::unistd::Pid;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

/// Goes on to its end even if the caller gives up waiting.
pub async fn run(inner: &Arc<Inner>, spec: SandboxSpec) -> Result<Sandbox, RuntimeError> {
    let inner = Arc::clone(inner);
    let task = tokio::spawn(async move { make(&inner, spec).await });
    task.await.unwrap_or_else(|error| Err(broken("making a sandbox", &error)))
}

async fn make(inner: &Arc<Inner>, spec: SandboxSpec) -> Result<Sandbox, RuntimeError> {
    let id = SandboxId(new_id());
    let folder = inner.files.sandbox(&id);
    let made = run_now(inner, &id, &folder, spec).await;
    match made {
        Ok(record) => {
            let shown = shown(inner, &record);
            inner.table.add_sandbox(record);
            Ok(shown)
        }
        Err(error) => {
            let inner = Arc::clone(inner);
            // The first error is the one to tell; what stays behind is swept at the next start.
            let _ = blocking(move || namespaces::remove(&inner.files.sandbox(&id), &id)).await;
            Err(error)
        }
    }
}

async fn run_now(
    inner: &Arc<Inner>,
    id: &SandboxId,
    folder: &Path,
    spec: SandboxSpec,
) -> Result<SandboxRecord, RuntimeError> {
    let record = SandboxRecord { id: id.clone(), spec, created_at: Timestamp::now(), boot: namespaces::boot()? };
    let (path, spec) = (folder.to_owned(), record.spec.clone());
    blocking(move || namespaces::make(&path, &spec)).await?;
    if record.spec.share_pid && !record.spec.host_pid {
        let pause = pause(inner, &record).await?;
        namespaces::pin_pid(folder, pause)?;
    }
    let (path, saved) = (folder.to_owned(), record.clone());
    blocking(move || {
        durable::write(&path.join(SANDBOX), &saved, Survives::PowerCut)
            .and_then(|()| durable::sync_parent(&path))
            .map_err(io_failed("saving a sandbox"))
    })
    .await?;
    Ok(record)
}

/// The group of a sandbox's own process; killing the group needs no process number.
fn pause_cgroup(record: &SandboxRecord) -> String {
    format!("{}/pause-{}", record.spec.cgroup.trim_matches('/'), record.id.0)
}

async fn pause(inner: &Inner, record: &SandboxRecord) -> Result<Pid, RuntimeError> {
    let mut command = nursery::shim_command(&inner.shim_command);
    command.arg(PAUSE).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let failed = "starting a sandbox's first process";
    let output = blocking(move || command.output().map_err(io_failed(failed))).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let pid = text.trim().strip_prefix(PAUSE_READY).and_then(|rest| rest.trim().parse().ok()).map(Pid::from_raw);
    let pid = pid.ok_or_else(|| {
        RuntimeError::Start(format!("a sandbox's first process: {}", String::from_utf8_lossy(&output.stderr).trim()))
    })?;
    let cgroup = pause_cgroup(record);
    // First to where no service manager ends it with the agent.
    inner.cgroups.join(&inner.host.shim_cgroup, pid)?;
    inner.cgroups.ensure(&cgroup, &Resources::default())?;
    inner.cgroups.join(&cgroup, pid)?;
    Ok(pid)
}

pub async fn remove(inner: &Arc<Inner>, id: SandboxId) -> Result<(), RuntimeError> {
    let Ok(record) = inner.table.sandbox(&id) else { return Ok(()) };
    for container in inner.table.containers_of(&id) {
        containers::stop(inner, &container, Duration::ZERO).await?;
        containers::remove(inner, container).await?;
    }
    let inner = Arc::clone(inner);
    blocking(move || {
        let folder = inner.files.sandbox(&id);
        inner.cgroups.remove(&pause_cgroup(&record))?;
        durable::remove_file(&folder.join(SANDBOX)).map_err(io_failed("deleting a sandbox's record"))?;
        namespaces::remove(&folder, &id)?;
        inner.table.remove_sandbox(&id);
        Ok(())
    })
    .await
}

pub fn shown(inner: &Inner, record: &SandboxRecord) -> Sandbox {
    let paths = namespaces::paths(&inner.files.sandbox(&record.id), &record.spec);
    Sandbox {
        id: record.id.clone(),
        pod: record.spec.pod.clone(),
        netns: paths.net,
        created_at: record.created_at,
        ready: is_ready(inner, record),
    }
}

pub fn is_ready(inner: &Inner, record: &SandboxRecord) -> bool {
    let boot = namespaces::boot().is_ok_and(|boot| boot == record.boot);
    boot && namespaces::are_pinned(&inner.files.sandbox(&record.id), &record.spec)
}
