//! Starting a container: a shim is spawned and says whether the container runs.

use super::records::state_name;
use super::wire::{self, Reader, Writer};
use super::{Inner, broken, follow, io_failed};
use crate::frame::Frame;
use crate::limits::START;
use crate::shim::job::{COMPLAINTS, EXIT};
use crate::{ContainerId, RuntimeError, State};
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use tokio::process::{Child, Command};
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
    let (mut shim, mut reader, writer) = spawn(inner, &folder)?;
    match timeout(START, reader.next()).await {
        Ok(Ok(Some(Frame::Started(started)))) => {
            follow::now_running(inner, &id, &started);
            let inner = Arc::clone(inner);
            tokio::spawn(async move {
                follow::follow(&inner, id, reader).await;
                drop(writer);
                // Only so that it leaves no zombie.
                let _ = shim.wait().await;
            });
            Ok(())
        }
        Ok(Ok(Some(Frame::Failed(why)))) => {
            follow::settle(inner, &id).await;
            Err(RuntimeError::Start(why))
        }
        Ok(Ok(_)) => {
            follow::settle(inner, &id).await;
            match inner.table.state(&id)? {
                // It is another agent's, and runs.
                State::Running { .. } => Ok(()),
                _ if folder.join(EXIT).exists() => Err(RuntimeError::Start(complaint(&folder))),
                _ => Err(RuntimeError::Start(format!("the shim is already at work: {}", complaint(&folder)))),
            }
        }
        Ok(Err(error)) => {
            follow::settle(inner, &id).await;
            Err(error)
        }
        Err(_) => {
            shim.kill().await.map_err(io_failed("killing a shim"))?;
            // Kills what it left.
            follow::settle(inner, &id).await;
            Err(RuntimeError::Start(format!("the container did not start within {} s", START.as_secs())))
        }
    }
}

fn spawn(inner: &Inner, folder: &Path) -> Result<(Child, Reader, Writer), RuntimeError> {
    let (ours, theirs) = UnixStream::pair().map_err(io_failed("making a socket for the shim"))?;
    ours.set_nonblocking(true).map_err(io_failed("making a socket for the shim"))?;
    let complaints = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join(COMPLAINTS))
        .map_err(io_failed("opening the shim's own log"))?;
    let child = command(inner)
        .arg("run")
        .arg(folder)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(complaints)
        .spawn()
        .map_err(io_failed("starting a shim"))?;
    let (reader, writer) = wire::split(ours)?;
    Ok((child, reader, writer))
}

/// The shim's program, with nothing of the agent's environment.
pub fn command(inner: &Inner) -> Command {
    let mut words = inner.shim_command.iter();
    let mut command = Command::new(words.next().map_or("coracle".as_ref(), |word| word.as_os_str()));
    command.args(words).env_clear().current_dir("/");
    command
}

/// The last thing a shim said that said nothing through its socket.
fn complaint(folder: &Path) -> String {
    let mut text = Vec::new();
    if let Ok(file) = File::open(folder.join(COMPLAINTS)) {
        // What can't be read is not said.
        let _ = file.take(crate::limits::LAUNCH_REPORT_BYTES as u64).read_to_end(&mut text);
    }
    let text = String::from_utf8_lossy(&text);
    let last = text.lines().rev().find(|line| !line.is_empty()).unwrap_or("it said nothing");
    format!("the shim ended before the container ran: {last}")
}
