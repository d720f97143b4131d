//! Where shims are born: one process per agent, started with the first container, that forks a shim whenever the agent
//! asks. Shims then share the program's relocated pages instead of each having megabytes of their own, and no start
//! waits for the dynamic loader. It has one thread, so forking is safe; it ends with the agent, its shims do not.

use super::job::COMPLAINTS;
use super::{complain, setup, terminal};
use crate::cgroup::Cgroups;
use crate::sys::{self, Fork};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::unistd::{Pid, dup2_stderr, setsid};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// A request is a container's folder, with the agent's connection to the new shim beside it. Longer ones are cut off by
/// the kernel, and name no folder.
const REQUEST_BYTES: usize = 4096;

/// Until the agent is gone.
pub fn run(cgroup: &str) -> io::Result<()> {
    let agent = io::stdin().as_fd().try_clone_to_owned()?;
    // Whatever the agent's own starter left open is not for shims to keep.
    sys::close_all_but(agent.as_fd())?;
    terminal::let_go_but_errors()?;
    setsid()?;
    std::env::set_current_dir("/")?;
    prctl::set_name(c"coracle-nursery")?;
    // Shims and what they start are born here, out of reach of who stops the agent's own group.
    Cgroups::detect().and_then(|cgroups| cgroups.join(cgroup, Pid::this())).map_err(io::Error::other)?;
    // Shims that end leave nothing to collect.
    sys::ignore_children(true)?;
    while let Some((folder, connection)) = receive(&agent)? {
        match sys::fork()? {
            Fork::Parent(_) => {}
            Fork::Child => {
                drop(agent);
                sys::exit_now(i32::from(shim(&folder, connection).is_err()));
            }
        }
    }
    Ok(())
}

fn receive(agent: &OwnedFd) -> io::Result<Option<(PathBuf, OwnedFd)>> {
    let mut text = [0; REQUEST_BYTES];
    let mut space = cmsg_space!([RawFd; 1]);
    loop {
        let mut parts = [IoSliceMut::new(&mut text)];
        let message = match recvmsg::<()>(agent.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        let length = message.bytes;
        let mut connection = None;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(fds) = control {
                connection = fds.into_iter().map(sys::own).next();
            }
        }
        return Ok(connection.map(|fd| (OsString::from_vec(text[..length].to_vec()).into(), fd)));
    }
}

/// The child's life.
fn shim(folder: &Path, connection: OwnedFd) -> io::Result<()> {
    let complaints = OpenOptions::new().create(true).append(true).open(folder.join(COMPLAINTS))?;
    dup2_stderr(&complaints)?;
    drop(complaints);
    let done = sys::ignore_children(false).and_then(|()| setup::run(folder, UnixStream::from(connection)));
    if let Err(error) = &done {
        complain(error);
    }
    done
}
