//! The binary `coracle`: a cluster in one command, and the commands around it.

mod commands;
mod daemon;
mod demo;
mod host;
mod kubeconfig;
mod load;
mod node;
mod progress;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    // The processes behind containers are small and single-threaded: they start before anything else is set up.
    if let Some(code) = commands::hidden(std::env::args_os()) {
        return code;
    }
    let command = commands::Cli::parse();
    match command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
