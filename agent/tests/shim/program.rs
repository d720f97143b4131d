//! Stands for the product's binary in this package's tests: only its hidden `shim` subcommand.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().as_ref().and_then(|word| word.to_str()) {
        Some("shim") => coracle_runtime::shim_main(args),
        _ => {
            eprintln!("usage: coracle-shim-for-agent-tests shim …");
            ExitCode::FAILURE
        }
    }
}
