//! Following containers through their shims: each has one connection whose end is the container's end.

use super::records;
use super::wire::{self, Reader};
use super::{Inner, blocking, io_failed};
use crate::durable::{self, Survives};
use crate::frame::{Frame, Request, Started, VERSION, What};
use crate::limits::{SETTLE_PAUSE, SETTLE_PAUSE_MOST, SHIM_PAUSE, SHIM_SILENCE};
use crate::shim::job::{EXIT, Exit, LOCK, RUNNING, Running};
use crate::{ContainerEvent, ContainerId, RuntimeError, State};
use jiff::Timestamp;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Asks a shim that an earlier agent started to tell us too.
pub fn adopt(inner: &Arc<Inner>, id: ContainerId, mut stream: UnixStream) -> Result<(), RuntimeError> {
    let request = Frame::Request(Request { version: VERSION, what: What::Watch });
    stream.write_all(&request.encode()).map_err(io_failed("asking a shim"))?;
    let (reader, writer) = wire::split(stream)?;
    let inner = Arc::clone(inner);
    tokio::spawn(async move {
        follow(&inner, id, reader).await;
        drop(writer);
    });
    Ok(())
}

/// Until the container has ended. The writing half must stay open as long.
pub async fn follow(inner: &Arc<Inner>, id: ContainerId, mut reader: Reader) {
    loop {
        match reader.next().await {
            Ok(Some(Frame::Started(started))) => now_running(inner, &id, &started),
            // Without an end on disk it is the shim that will not speak with us; asking again would not help.
            Ok(Some(Frame::Failed(why))) if !inner.files.container(&id).join(EXIT).exists() => {
                tracing::error!(container = %id.0, why, "a shim refuses to tell about its container");
                return;
            }
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(container = %id.0, %error, "lost a shim's connection");
                break;
            }
        }
    }
    settle(inner, &id).await;
}

pub fn now_running(inner: &Inner, id: &ContainerId, started: &Started) {
    for warning in &started.warnings {
        tracing::warn!(container = %id.0, warning, "a container runs, but not quite as asked");
    }
    set(inner, id, State::Running { started_at: started.at, pid: started.pid });
}

/// After a shim's connection ended: its container's end is on disk, or the shim still lives, or is lost. What fails is
/// tried again beside the caller's work.
pub async fn settle(inner: &Arc<Inner>, id: &ContainerId) {
    if let Err(error) = settle_once(inner, id).await {
        settle_later(inner, id.clone(), &error);
    }
}

/// Tries until it is known what became of the container, or the container or the runtime is gone.
pub fn settle_later(inner: &Arc<Inner>, id: ContainerId, error: &RuntimeError) {
    tracing::error!(container = %id.0, %error, "could not tell what became of a container, trying again");
    let inner = Arc::downgrade(inner);
    tokio::spawn(async move {
        let mut pause = SETTLE_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            let Some(inner) = inner.upgrade().filter(|inner| inner.table.record(&id).is_ok()) else { return };
            match settle_once(&inner, &id).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(container = %id.0, %error, "still can't tell what became of a container"),
            }
            pause = (pause * 2).min(SETTLE_PAUSE_MOST);
        }
    });
}

async fn settle_once(inner: &Arc<Inner>, id: &ContainerId) -> Result<(), RuntimeError> {
    let (task, owned) = (Arc::clone(inner), id.clone());
    let runtime = tokio::runtime::Handle::current();
    blocking(move || {
        let _within = runtime.enter();
        settle_now(&task, &owned)
    })
    .await
}

/// As [`settle`], once, within a tokio runtime but blocking.
pub fn settle_now(inner: &Arc<Inner>, id: &ContainerId) -> Result<(), RuntimeError> {
    let folder = inner.files.container(id);
    let deadline = Instant::now() + SHIM_SILENCE;
    loop {
        let exit = durable::read::<Exit>(&folder.join(EXIT)).map_err(io_failed("reading a container's end"))?;
        if let Some(exit) = exit {
            set(inner, id, records::exited(exit));
            return Ok(());
        }
        if let Ok(stream) = wire::connect(&folder) {
            return adopt(inner, id.clone(), stream);
        }
        if let Some(_lock) = lock(&folder)? {
            return lost(inner, id, &folder);
        }
        // It lives and does not listen: it has only just begun, or is about to end.
        if Instant::now() > deadline {
            return Err(io_failed("talking to a shim")(std::io::ErrorKind::TimedOut.into()));
        }
        std::thread::sleep(SHIM_PAUSE);
    }
}

/// Held by a shim as long as it lives; `None` where it does.
pub fn lock(folder: &Path) -> Result<Option<File>, RuntimeError> {
    let failed = || io_failed("looking for a shim");
    let file = File::create(folder.join(LOCK)).map_err(failed())?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(failed()(error)),
    }
}

/// Nothing runs unfollowed: what the lost shim's container still has is killed, and its end recorded.
fn lost(inner: &Inner, id: &ContainerId, folder: &Path) -> Result<(), RuntimeError> {
    let Ok(record) = inner.table.record(id) else { return Ok(()) };
    inner.cgroups.remove(&record.cgroup)?;
    // Not synced, so a power cut may have damaged it; then only the time of its start is lost.
    let running = durable::read::<Running>(&folder.join(RUNNING)).unwrap_or_default();
    let told = inner.table.state(id).ok().and_then(records::exit_of);
    let exit = told.unwrap_or_else(|| records::lost(running.as_ref(), Timestamp::now()));
    // It is over whether or not the disk has room for that.
    set(inner, id, records::exited(exit.clone()));
    durable::write(&folder.join(EXIT), &exit, Survives::PowerCut).map_err(io_failed("recording a container's end"))
}

fn set(inner: &Inner, id: &ContainerId, state: State) {
    if inner.table.set_state(id, state)
        && let Ok(record) = inner.table.record(id)
    {
        // Nobody has to listen.
        let _ = inner.events.send(ContainerEvent { pod_uid: record.pod.uid.clone(), container: id.clone() });
    }
}
