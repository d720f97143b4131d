//! The shim: a container's parent process, one per container. It starts the container by libcontainer, writes its log,
//! records how it ended, and serves exec and attach, so that containers outlive the agent. One thread, no async
//! runtime: there is one of these for every container, and memory counts.

mod clients;
mod ending;
mod execs;
pub mod job;
mod launch;
pub mod log_files;
mod nursery;
mod pause;
mod payload;
mod process;
mod report;
mod rootfs;
mod server;
mod setup;
mod terminal;

pub use pause::PAUSE_READY;

/// The subcommand's argument that starts the nursery.
pub const NURSERY: &str = "nursery";
/// That starts a sandbox's first process.
pub const PAUSE: &str = "pause";

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

/// What the hidden subcommand runs; `args` are those after it. Has to be called before the program starts a thread.
///
/// `nursery <cgroup>` forks a shim for whatever container the agent names on its standard input. `pause` is the first process of
/// a PID namespace that a pod's containers share.
pub fn shim_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter().map(OsString::into_string);
    let done = match (args.next(), args.next()) {
        (Some(Ok(what)), Some(Ok(cgroup))) if what == NURSERY => nursery::run(&cgroup),
        (Some(Ok(what)), None) if what == PAUSE => pause::run(),
        _ => Err(std::io::Error::other("usage: shim nursery <cgroup> | shim pause")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}

/// Says what went wrong where complaints belong. That is a file, and its disk may be full: `eprintln!` would panic then.
fn complain(what: impl Display) {
    let _ = writeln!(std::io::stderr(), "coracle shim: {what}");
}
