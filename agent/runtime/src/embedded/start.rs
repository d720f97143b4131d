//! Starting a container: a shim is born and says whether the container runs.

use super::records::state_name;
use super::{Inner, blocking, broken, follow, io_failed, wire};
use crate::frame::Frame;
use crate::limits::{START, START_MARGIN};
use crate::shim::job::COMPLAINTS;
use crate::{ContainerId, RuntimeError, State};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use tokio::time::timeout;

/// Goes on to its end even if the caller gives up waiting.
pub async fn start(inner: &Arc<Inner>, id: ContainerId) -> Result<(), RuntimeError> {
    let inner = Arc::clone(inner);
    let task = tokio::spawn(async move { start_now(&inner, id).await });
    task.await.unwrap_or_else(|error| Err(broken("starting a container", &error)))
}

async fn start_now(inner: &Arc<Inner>, id: ContainerId) -> Result<(), RuntimeError> {
    let turn = inner.table.turn(&id)?;
    let _turn = turn.lock().await;
    let state = inner.table.state(&id)?;
    if state != State::Created {
        let state = state_name(&state).to_owned();
        return Err(RuntimeError::WrongState { id: id.0, state, action: "started" });
    }
    let folder = inner.files.container(&id);
    let (nursery, shims) = (Arc::clone(inner), folder.clone());
    let stream = blocking(move || nursery.nursery.shim(&shims).map_err(io_failed("starting a shim"))).await?;
    stream.set_nonblocking(true).map_err(io_failed("using the shim's socket"))?;
    let (mut reader, writer) = wire::split(stream)?;
    match timeout(START + START_MARGIN, reader.next()).await {
        Ok(Ok(Some(Frame::Started(started)))) => {
            follow::now_running(inner, &id, &started);
            let inner = Arc::clone(inner);
            tokio::spawn(async move {
                follow::follow(&inner, id, reader).await;
                drop(writer);
            });
            Ok(())
        }
        Ok(Ok(Some(Frame::Failed(why)))) => {
            follow::settle(inner, &id).await;
            Err(RuntimeError::Start(why))
        }
        Ok(Ok(_)) => {
            follow::settle(inner, &id).await;
            started_before(inner, &id, &folder).await
        }
        Ok(Err(error)) => {
            follow::settle(inner, &id).await;
            Err(error)
        }
        Err(_) => Err(RuntimeError::Start("the shim does not answer".to_owned())),
    }
}

/// The shim left without a word: it failed, or an earlier agent's is at work for this container.
async fn started_before(inner: &Inner, id: &ContainerId, folder: &Path) -> Result<(), RuntimeError> {
    let mut state = inner.table.watch(id)?;
    let known = timeout(START, state.wait_for(|state| *state != State::Created)).await;
    match known.ok().and_then(Result::ok).as_deref() {
        Some(State::Running { .. }) => Ok(()),
        Some(State::Exited { message, .. }) if !message.is_empty() => {
            Err(RuntimeError::Start(format!("{message} ({})", complaint(folder))))
        }
        // It ran, and has ended since.
        Some(State::Exited { .. }) => Ok(()),
        _ => Err(RuntimeError::Start(complaint(folder))),
    }
}

/// The last thing a shim said that said nothing through its socket.
fn complaint(folder: &Path) -> String {
    let mut text = Vec::new();
    if let Ok(file) = File::open(folder.join(COMPLAINTS)) {
        // What can't be read is not said.
        let _ = file.take(crate::limits::LAUNCH_REPORT_BYTES as u64).read_to_end(&mut text);
    }
    let text = String::from_utf8_lossy(&text);
    let last = text.lines().rev().find(|line| !line.is_empty()).unwrap_or("nothing");
    format!("the shim said: {last}")
}
