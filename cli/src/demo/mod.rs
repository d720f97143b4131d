//! The demo application: a small HTTP server to deploy, probe, scale, roll out and break. One thread, no files, ready
//! in milliseconds; on SIGTERM it finishes what it serves. The images `coracle/demo:v1` and `:v2` run it.

mod answer;
mod limits;
mod metrics;
mod route;
mod serve;

use answer::Demo;
use std::net::Ipv4Addr;
use std::process::ExitCode;

/// Serves on `PORT` (8080) until SIGTERM or SIGINT, then until it is idle.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("demo: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> std::io::Result<()> {
    let port = match std::env::var("PORT") {
        Ok(text) => text.parse::<u16>().map_err(|e| std::io::Error::other(format!("PORT={text:?}: {e}")))?,
        Err(_) => 8080,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(limits::BURNING_THREADS)
        .build()?;
    let result = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
        let demo = Demo::from_env(|name| std::env::var(name).ok());
        println!("{demo} listens on port {port}");
        let result = serve::serve(listener, demo).await;
        println!("stopped");
        result
    });
    // Burns that outlived the deadline are not waited for.
    runtime.shutdown_background();
    result
}
