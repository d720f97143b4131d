//! The shim: a container's parent process, one per container. It starts the container by libcontainer, writes its log,
//! records how it ended, and serves exec and attach, so that containers outlive the agent. One thread, no async
//! runtime: there is one of these for every container, and memory counts.

mod clients;
mod ending;
mod execs;
pub mod job;
mod launch;
pub mod log_files;
mod pause;
mod payload;
mod process;
mod report;
mod rootfs;
mod server;
mod setup;
mod terminal;

pub use pause::PAUSE_READY;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// What the hidden subcommand runs; `args` are those after it. Has to be called before the program starts a thread.
///
/// `run <container's folder>` follows one container; its standard input is the agent's connection.
/// `pause <pid file>` is the first process of a PID namespace that a pod's containers share.
pub fn shim_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let (what, path) = (args.next(), args.next().map(PathBuf::from));
    let done = match (what.as_ref().and_then(|what| what.to_str()), path) {
        (Some("run"), Some(path)) => setup::run(&path),
        (Some("pause"), Some(path)) => pause::run(&path),
        _ => Err(std::io::Error::other("usage: shim run <folder> | shim pause <folder>")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coracle shim: {error}");
            ExitCode::FAILURE
        }
    }
}
