//! The first process of a PID namespace that a pod's containers share: it holds the namespace and reaps its orphans.

use crate::sys::{self, Fork};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::setsid;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

/// What it writes to its standard output, followed by the namespace's first process, once that is there.
pub const PAUSE_READY: &str = "pause";

pub fn run() -> io::Result<()> {
    sys::close_all_but(io::stdin().as_fd())?;
    setsid()?;
    std::env::set_current_dir("/")?;
    // Nobody but SIGKILL ends it; SIGCHLD is waited for.
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&signals), None)?;
    unshare(CloneFlags::CLONE_NEWPID)?;
    match sys::fork()? {
        Fork::Parent(child) => {
            let mut out = io::stdout();
            writeln!(out, "{PAUSE_READY} {child}")?;
            out.flush()?;
            sys::exit_now(0)
        }
        Fork::Child => {
            prctl::set_name(c"pause")?;
            // An agent that is gone before it could note down where we are would never end us.
            let mut word = [0];
            if io::stdin().read(&mut word)? == 0 {
                return Ok(());
            }
            crate::shim::terminal::let_go()?;
            loop {
                signals.wait()?;
                while !matches!(
                    waitpid(None, Some(WaitPidFlag::WNOHANG)),
                    Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::ECHILD)
                ) {}
            }
        }
    }
}
