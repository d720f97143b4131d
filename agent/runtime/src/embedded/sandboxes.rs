//! Sandboxes: a pod's namespaces, made before its containers and taken down after them.

use super::files::{DRAFT, SANDBOX, new_id};
use super::records::SandboxRecord;
use super::{Inner, blocking, broken, containers, io_failed, namespaces, nursery};
use crate::durable::{self, Survives};
use crate::shim::{PAUSE, PAUSE_READY};
use crate::{Resources, RuntimeError, Sandbox, SandboxId, SandboxSpec};
use jiff::Timestamp;
use nix::unistd::Pid;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
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
            let _ = blocking(move || sweep(&inner, &id)).await;
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
    let (path, draft) = (folder.to_owned(), record.clone());
    blocking(move || {
        namespaces::make(&path, &draft.spec)?;
        durable::write(&path.join(DRAFT), &draft, Survives::Crash).map_err(io_failed("drafting a sandbox"))
    })
    .await?;
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

async fn pause(inner: &Arc<Inner>, record: &SandboxRecord) -> Result<Pid, RuntimeError> {
    let command = nursery::shim_command(&inner.shim_command);
    let (inner, record) = (Arc::clone(inner), record.clone());
    blocking(move || {
        let (pid, mut process) = spawn_pause(command)?;
        let cgroup = pause_cgroup(&record);
        // First to where no service manager ends it with the agent.
        inner.cgroups.join(&inner.host.shim_cgroup, pid)?;
        inner.cgroups.ensure(&cgroup, &Resources::default())?;
        inner.cgroups.join(&cgroup, pid)?;
        // Now it can be found again, so it may stay.
        process.write_all(b"stay").map_err(io_failed("keeping a sandbox's first process"))?;
        Ok(pid)
    })
    .await
}

/// The process in its namespace, and what keeps it until it is told to stay.
fn spawn_pause(mut command: Command) -> Result<(Pid, ChildStdin), RuntimeError> {
    let failed = || io_failed("starting a sandbox's first process");
    command.arg(PAUSE).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed())?;
    let stdin = child.stdin.take().ok_or_else(|| failed()(io::ErrorKind::BrokenPipe.into()))?;
    let (mut said, mut complained) = (String::new(), String::new());
    if let Some(stdout) = &mut child.stdout {
        BufReader::new(stdout).read_line(&mut said).map_err(failed())?;
    }
    // Its parent has nothing more to do.
    if !child.wait().map_err(failed())?.success()
        && let Some(stderr) = &mut child.stderr
    {
        stderr.read_to_string(&mut complained).map_err(failed())?;
    }
    let pid = said.trim().strip_prefix(PAUSE_READY).and_then(|rest| rest.trim().parse().ok()).map(Pid::from_raw);
    let pid = pid.ok_or_else(|| RuntimeError::Start(format!("a sandbox's first process: {}", complained.trim())))?;
    Ok((pid, stdin))
}

pub async fn remove(inner: &Arc<Inner>, id: SandboxId) -> Result<(), RuntimeError> {
    if inner.table.sandbox(&id).is_err() {
        return Ok(());
    }
    for container in inner.table.containers_of(&id) {
        containers::stop(inner, &container, Duration::ZERO).await?;
        match containers::remove(inner, container.clone()).await {
            // It was only just starting; now it runs.
            Err(RuntimeError::WrongState { .. }) => {
                containers::stop(inner, &container, Duration::ZERO).await?;
                containers::remove(inner, container).await?;
            }
            done => done?,
        }
    }
    let inner = Arc::clone(inner);
    blocking(move || {
        let record = inner.files.sandbox(&id).join(SANDBOX);
        durable::remove_file(&record).map_err(io_failed("deleting a sandbox's record"))?;
        sweep(&inner, &id)?;
        inner.table.remove_sandbox(&id);
        Ok(())
    })
    .await
}

/// Takes down what is there of a sandbox that was never finished, or is being removed.
pub fn sweep(inner: &Inner, id: &SandboxId) -> Result<(), RuntimeError> {
    let folder = inner.files.sandbox(id);
    // A draft may be damaged by a power cut; then nothing of it runs either.
    if let Ok(Some(record)) = durable::read::<SandboxRecord>(&folder.join(DRAFT)) {
        inner.cgroups.remove(&pause_cgroup(&record))?;
    }
    namespaces::remove(&folder, id)
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
