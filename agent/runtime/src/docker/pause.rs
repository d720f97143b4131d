//! The process that holds a sandbox's namespaces: it waits for a signal to end, and takes care of orphans where it is
//! the pod's PID 1.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::process::ExitCode;

/// Waits until it is told to end. One thread, no allocation after the start.
pub fn pause_main() -> ExitCode {
    match pause() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("pause: {e}");
            ExitCode::FAILURE
        }
    }
}

fn pause() -> nix::Result<()> {
    // What `ps` in the pod shows; by itself it would be the program's name.
    let _only_for_people = rustix::thread::set_name(c"pause");
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGCHLD);
    // Blocked, not ignored: PID 1 gets only what it asks for.
    signals.thread_block()?;
    loop {
        match signals.wait()? {
            Signal::SIGCHLD => reap(),
            _ => return Ok(()),
        }
    }
}

/// One signal may stand for several children.
fn reap() {
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(_) => return,
            Ok(_) => {}
        }
    }
}
