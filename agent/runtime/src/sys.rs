//! The few system calls that no library wraps safely. The only unsafe code of this package; every function says why it
//! is sound.
#![allow(unsafe_code)]

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use nix::unistd::{ForkResult, Pid};
use seccompiler::sock_filter;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Which side of a fork the caller is.
pub enum Fork {
    Parent(Pid),
    Child,
}

/// Forks. Only a process with one thread may call it: the shim, never the agent.
pub fn fork() -> nix::Result<Fork> {
    // Sound: the shim has one thread, so no lock can be held by a thread that the child lacks.
    Ok(match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Fork::Parent(child),
        ForkResult::Child => Fork::Child,
    })
}

/// Gives signals back the meaning that a program expects at its start: Rust ignores SIGPIPE and the shim blocks some,
/// and both would survive `execve`.
pub fn reset_signals() -> nix::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGCHLD, Signal::SIGPIPE, Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        // Sound: the default action runs no code of ours.
        unsafe { sigaction(signal, &default) }?;
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}

/// Whether children that end are forgotten at once, or wait to be collected.
pub fn ignore_children(ignored: bool) -> io::Result<()> {
    let handler = if ignored { SigHandler::SigIgn } else { SigHandler::SigDfl };
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // Sound: neither runs code of ours.
    unsafe { sigaction(Signal::SIGCHLD, &action) }?;
    Ok(())
}

/// Closes every descriptor from 3 on but `kept`: right before `execve`, or as a program's first step.
pub fn close_all_but(kept: BorrowedFd<'_>) -> io::Result<()> {
    let kept = libc::c_uint::try_from(kept.as_raw_fd()).map_err(io::Error::other)?;
    for (first, last) in [(3, kept.saturating_sub(1)), (kept.max(2) + 1, libc::c_uint::MAX)] {
        if first > last {
            continue;
        }
        // Sound: the caller owns no other descriptor yet, or goes on to `execve` or `_exit` and uses none of them.
        if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Loads one filter into the calling thread without touching `no_new_privs` (seccompiler's own loader always sets it).
/// Needs CAP_SYS_ADMIN or `no_new_privs`.
pub fn load_seccomp(program: &[sock_filter]) -> io::Result<()> {
    let len = libc::c_ushort::try_from(program.len()).map_err(io::Error::other)?;
    let filter = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
    // Sound: `filter` points to `len` instructions that live past the call; the kernel only reads them.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets a terminal's size.
pub fn set_terminal_size(terminal: BorrowedFd<'_>, columns: u16, rows: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // Sound: TIOCSWINSZ reads one `winsize` from the pointer.
    let done = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Ends the process without running destructors or handlers of its parent: what a forked child
/// does instead of returning.
pub fn exit_now(code: i32) -> ! {
    // Sound: ends the process.
    unsafe { libc::_exit(code) }
}

/// Takes over a descriptor that the kernel just handed to this process in a message.
pub fn own(fd: std::os::fd::RawFd) -> std::os::fd::OwnedFd {
    // Sound: it is new, so nobody else closes it.
    unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) }
}

/// A descriptor that tokio waits for.
pub fn watched(fd: std::os::fd::OwnedFd) -> io::Result<tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>> {
    // Sound: an `OwnedFd` always names the same open file, as `register` asks of what it is given.
    unsafe { tokio::io::unix::AsyncFd::register(fd) }.map_err(io::Error::from)
}
