//! The agent's end of the nursery: started when first needed, and again should it ever be gone.

use crate::shim::NURSERY;
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};
use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

pub struct Nursery {
    command: Vec<OsString>,
    cgroup: String,
    alive: Mutex<Option<Alive>>,
}

struct Alive {
    control: OwnedFd,
    process: Child,
}

impl Nursery {
    /// `command` is the shim's program; `cgroup` is where shims live.
    pub fn new(command: Vec<OsString>, cgroup: String) -> Self {
        Self { command, cgroup, alive: Mutex::new(None) }
    }

    /// Has a shim born for a container's folder, and gives the connection to it. Blocks shortly.
    pub fn shim(&self, folder: &Path) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(nursery) = alive.as_ref()
            && nursery.send(folder, &theirs).is_ok()
        {
            return Ok(ours);
        }
        // There is none, or it was killed.
        *alive = None;
        let nursery = alive.insert(start(&self.command, &self.cgroup)?);
        nursery.send(folder, &theirs)?;
        Ok(ours)
    }
}

impl Alive {
    fn send(&self, folder: &Path, connection: &UnixStream) -> io::Result<()> {
        let fds = [connection.as_raw_fd()];
        let text = [IoSlice::new(folder.as_os_str().as_bytes())];
        let rights = [ControlMessage::ScmRights(&fds)];
        sendmsg::<()>(self.control.as_raw_fd(), &text, &rights, MsgFlags::MSG_NOSIGNAL, None)?;
        Ok(())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        // It would end by itself with the socket; killing it means not waiting for its turn. Its shims live on.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn start(command: &[OsString], cgroup: &str) -> io::Result<Alive> {
    let (control, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    let process =
        shim_command(command).args([NURSERY, cgroup]).stdin(Stdio::from(theirs)).stdout(Stdio::null()).spawn()?;
    Ok(Alive { control, process })
}

/// The shim's program, with nothing of the agent's environment.
pub fn shim_command(words: &[OsString]) -> Command {
    let mut words = words.iter();
    let mut command = Command::new(words.next().map_or("coracle".as_ref(), |word| word.as_os_str()));
    command.args(words).env_clear().current_dir("/");
    command
}
