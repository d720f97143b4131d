//! The shim's first steps: away from the agent that started it, alone with its container, then to work.

use super::job::{self, Job};
use super::log_files::Log;
use super::server::Server;
use super::terminal;
use crate::cgroup::Cgroups;
use crate::durable;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};
use nix::unistd::setsid;
use std::fs::{self, File};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// In a fresh child of the nursery; `agent` is its connection to the agent, and its standard error goes where
/// complaints belong.
pub fn run(folder: &Path, agent: UnixStream) -> io::Result<()> {
    agent.set_nonblocking(true)?;
    terminal::let_go_but_errors()?;
    match setsid() {
        Ok(_) | Err(Errno::EPERM) => {}
        Err(error) => return Err(error.into()),
    }
    let folder = folder.canonicalize()?;
    std::env::set_current_dir("/")?;
    // What containers expect; the agent's may be tighter.
    umask(Mode::from_bits_truncate(0o022));
    prctl::set_child_subreaper(true)?;
    prctl::set_name(c"coracle-shim")?;
    let lock = File::create(folder.join(job::LOCK))?;
    lock.try_lock().map_err(|_| io::Error::other("another shim follows this container"))?;
    let job: Job =
        durable::read(&folder.join(job::JOB))?.ok_or_else(|| io::Error::other("there is no job in this folder"))?;
    spare_from_oom();
    let signals = signals()?;
    let listener = terminal::listen(&folder, job::SOCKET)?;
    let log = Log::create(&folder.join(job::LOGS))?;
    let cgroups = Cgroups::detect().map_err(io::Error::other)?;
    let mut server = Server::new(folder, job, log, cgroups, signals, listener);
    server.watched_by(agent);
    let done = server.run();
    drop(lock);
    done
}

/// Where it is not allowed, the shim stands in line like everyone else; its container's score is set in any case.
fn spare_from_oom() {
    let _ = fs::write("/proc/self/oom_score_adj", "-999");
}

/// Children's ends come through a descriptor; nobody ends the shim by asking.
fn signals() -> io::Result<SignalFd> {
    let mut blocked = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        blocked.add(signal);
    }
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None)?;
    Ok(SignalFd::with_flags(&blocked, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}
