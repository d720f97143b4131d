//! Containers between their birth and their death: made, stopped, removed.

use super::files::{CONTAINER, new_id};
use super::records::{ContainerRecord, state_name, stop_signal};
use super::{Inner, blocking, follow, io_failed, namespaces, sandboxes, wire};
use crate::durable::{self, Survives};
use crate::frame::{Frame, Request, VERSION, What};
use crate::limits::{SHIM_PAUSE, STOP_MARGIN};
use crate::seccomp::{self, Filter};
use crate::shim::job;
use crate::spec::{self, Device, Input};
use crate::{ContainerId, ContainerSpec, RuntimeError, SandboxId, Seccomp, State, limits};
use jiff::Timestamp;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

pub async fn create(inner: &Arc<Inner>, sandbox: &SandboxId, spec: ContainerSpec) -> Result<ContainerId, RuntimeError> {
    let (inner, sandbox) = (Arc::clone(inner), sandbox.clone());
    blocking(move || {
        let id = ContainerId(new_id());
        let folder = inner.files.container(&id);
        let made = create_now(&inner, &id, &sandbox, spec, &folder);
        if made.is_err() {
            // The first error is the one to tell; what stays behind is swept at the next start.
            let _ = inner.images.release(&id.0);
            let _ = durable::remove_tree(&folder);
        }
        made.map(|()| id)
    })
    .await
}

fn create_now(
    inner: &Inner,
    id: &ContainerId,
    sandbox: &SandboxId,
    container: ContainerSpec,
    folder: &Path,
) -> Result<(), RuntimeError> {
    let sandbox = inner.table.sandbox(sandbox)?;
    if !sandboxes::is_ready(inner, &sandbox) {
        let state = "not ready".to_owned();
        return Err(RuntimeError::WrongState { id: sandbox.id.0, state, action: "given a container" });
    }
    for mount in &container.mounts {
        fs::metadata(&mount.source).map_err(|error| {
            RuntimeError::Start(format!("failed to stat mount source {:?}: {error}", mount.source.display()))
        })?;
    }
    inner.images.lease(&container.image_id, &id.0)?;
    let image = inner.images.config(&container.image_id)?;
    let image = image.config().clone().unwrap_or_default();
    let rendered = spec::render(Input {
        id,
        container: &container,
        image: &image,
        sandbox: &sandbox.spec,
        namespaces: &namespaces::paths(&inner.files.sandbox(&sandbox.id), &sandbox.spec),
        folder,
        layers: inner.images.lower_dirs(&container.image_id)?,
        host: &inner.host,
        seccomp: filter(&container.security.seccomp)?,
        devices: devices(&container)?,
    })?;
    let saved = |doing: &'static str| io_failed(doing);
    fs::create_dir(folder)
        .and_then(|()| fs::create_dir(folder.join(job::LOGS)))
        .map_err(saved("making a container's folder"))?;
    durable::write(&folder.join(job::CONFIG), &rendered.spec, Survives::Crash).map_err(saved("saving a spec"))?;
    durable::write(&folder.join(job::JOB), &rendered.job, Survives::Crash).map_err(saved("saving a job"))?;
    let record = ContainerRecord {
        id: id.clone(),
        sandbox: sandbox.id,
        pod: sandbox.spec.pod,
        spec: container,
        created_at: Timestamp::now(),
        cgroup: rendered.job.cgroup,
        stop_signal: stop_signal(image.stop_signal().as_deref()),
    };
    durable::write(&folder.join(CONTAINER), &record, Survives::PowerCut).map_err(saved("saving a container"))?;
    durable::sync_parent(folder).map_err(saved("saving a container"))?;
    inner.table.add_container(record, State::Created);
    Ok(())
}

fn filter(seccomp: &Seccomp) -> Result<Filter, RuntimeError> {
    match seccomp {
        Seccomp::Unconfined => Ok(Filter::Unconfined),
        Seccomp::RuntimeDefault => Ok(Filter::RuntimeDefault),
        Seccomp::Localhost(path) => {
            let told = |why: String| RuntimeError::Start(format!("seccomp profile {}: {why}", path.display()));
            let mut json = Vec::new();
            File::open(path)
                .and_then(|file| file.take(limits::PROFILE_BYTES).read_to_end(&mut json))
                .map_err(|error| told(error.to_string()))?;
            seccomp::parse(&json).map(Filter::Profile).map_err(|error| told(error.to_string()))
        }
    }
}

/// Device files by the numbers they have on the host. A privileged container gets all of the host's.
fn devices(container: &ContainerSpec) -> Result<Vec<Device>, RuntimeError> {
    let mut devices = Vec::new();
    for path in &container.devices {
        let told = |why: String| RuntimeError::Start(format!("device {}: {why}", path.display()));
        let found = fs::metadata(path).map_err(|error| told(error.to_string()))?;
        devices.push(device(path, &found).ok_or_else(|| told("it is not a device".to_owned()))?);
    }
    if container.security.privileged {
        let entries = fs::read_dir("/dev").map_err(io_failed("listing /dev"))?.flatten();
        devices.extend(entries.filter_map(|entry| device(&entry.path(), &entry.metadata().ok()?)));
        devices.retain(|device| !device.path.ends_with("console"));
        devices.sort_by(|a, b| a.path.cmp(&b.path));
        devices.dedup_by(|a, b| a.path == b.path);
    }
    Ok(devices)
}

fn device(path: &Path, found: &fs::Metadata) -> Option<Device> {
    let kind = found.file_type();
    let number = found.rdev();
    (kind.is_block_device() || kind.is_char_device()).then(|| Device {
        path: path.to_owned(),
        block: kind.is_block_device(),
        major: nix::sys::stat::major(number),
        minor: nix::sys::stat::minor(number),
        mode: found.mode() & 0o777,
    })
}

pub async fn stop(inner: &Arc<Inner>, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
    let mut state = inner.table.watch(id)?;
    if !matches!(*state.borrow(), State::Running { .. }) {
        return Ok(());
    }
    let record = inner.table.record(id)?;
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    // A shim that is just ending needs no asking.
    let asked = wire::ask(&inner.files.container(id), What::Stop { signal: record.stop_signal, grace_ms }).await;
    let ended = timeout(grace + STOP_MARGIN, state.wait_for(|state| matches!(state, State::Exited { .. }))).await;
    drop(asked);
    match ended {
        // An entry that was removed has ended too.
        Ok(_) => Ok(()),
        Err(_) => {
            inner.cgroups.kill(&record.cgroup);
            let doing = format!("stopping container {:?}", id.0);
            Err(RuntimeError::Io { doing, why: "it did not end after SIGKILL".to_owned() })
        }
    }
}

pub async fn remove(inner: &Arc<Inner>, id: ContainerId) -> Result<(), RuntimeError> {
    let Ok(turn) = inner.table.turn(&id) else { return Ok(()) };
    let turn = turn.lock_owned().await;
    if inner.table.record(&id).is_err() {
        return Ok(());
    }
    let inner = Arc::clone(inner);
    blocking(move || {
        let _turn = turn;
        remove_now(&inner, &id)
    })
    .await
}

/// Makes sure that no shim works for a container: one that an earlier agent asked for may only just begin.
fn claim(folder: &Path) -> Result<File, RuntimeError> {
    let deadline = Instant::now() + STOP_MARGIN;
    loop {
        if let Some(lock) = follow::lock(folder)? {
            return Ok(lock);
        }
        if let Ok(mut stream) = wire::connect(folder) {
            let what = What::Stop { signal: nix::libc::SIGKILL, grace_ms: 0 };
            // A shim that does not listen any more is ending.
            let _ = stream.write_all(&Frame::Request(Request { version: VERSION, what }).encode());
        }
        if Instant::now() > deadline {
            return Err(io_failed("ending a shim")(std::io::ErrorKind::TimedOut.into()));
        }
        std::thread::sleep(SHIM_PAUSE);
    }
}

/// In an order that the next start can finish.
fn remove_now(inner: &Inner, id: &ContainerId) -> Result<(), RuntimeError> {
    let record = inner.table.record(id)?;
    let folder = inner.files.container(id);
    let _lock = match inner.table.state(id)? {
        State::Created => Some(claim(&folder)?),
        State::Exited { .. } => None,
        running => {
            let state = state_name(&running).to_owned();
            return Err(RuntimeError::WrongState { id: id.0.clone(), state, action: "removed" });
        }
    };
    inner.cgroups.remove(&record.cgroup)?;
    durable::remove_file(&folder.join(CONTAINER)).map_err(io_failed("deleting a container's record"))?;
    durable::sync_parent(&folder.join(CONTAINER)).map_err(io_failed("deleting a container's record"))?;
    inner.images.release(&id.0)?;
    durable::remove_tree(&folder).map_err(io_failed(format!("deleting {}", folder.display())))?;
    inner.table.remove_container(id);
    Ok(())
}
