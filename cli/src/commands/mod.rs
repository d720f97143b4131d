//! The table of commands: one file each.

mod down;
mod image;
mod up;

use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// A Kubernetes-compatible orchestrator in one binary.
#[derive(Parser)]
#[command(name = "coracle", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a cluster on this machine, or resume the one in the data directory.
    Up(up::Up),
    /// Stop the cluster of a data directory, its containers included.
    Down(down::Down),
    /// The images of this machine's cluster.
    Image(image::Image),
}

/// Where a cluster keeps everything.
#[derive(clap::Args)]
pub struct DataDir {
    /// Where the cluster keeps its state, certificates, images and containers.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/coracle", env = "CORACLE_DATA_DIR", global = true)]
    data_dir: PathBuf,
}

impl Cli {
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Up(up) => up.run(),
            Command::Down(down) => down.run(),
            Command::Image(image) => image.run(),
        }
    }
}

/// The programs that run behind and inside containers, by their first argument. `None`: the command line is a user's.
pub fn hidden(mut args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let _program = args.next();
    let name = args.next()?;
    match name.to_str()? {
        "shim" => Some(coracle_runtime::shim_main(args)),
        "pause" => Some(coracle_runtime::pause_main()),
        "demo" => Some(crate::demo::main()),
        "load" => Some(crate::load::main(args.collect())),
        _ => None,
    }
}
