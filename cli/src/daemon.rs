//! Running in the background: `--detach` starts the same program again, without a terminal, and shows its progress
//! until the node is Ready.

use anyhow::{Context, Result, bail};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Set in the environment of the process in the background; its value is the path of its log.
const MARK: &str = "CORACLE_DETACHED_LOG";

pub fn is_detached() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Starts this command line again in the background and waits until it reports that it is done starting.
pub fn start(data_dir: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir)?;
    let path = std::path::absolute(data_dir)?.join("coracle.log");
    let log = open_log(&path)?;
    let mut command = Command::new("/proc/self/exe");
    command.args(std::env::args_os().skip(1)).env(MARK, &path).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    let mut child = command.spawn().context("starting in the background")?;
    let mut output = child.stdout.take().expect("stdout is piped");
    let mut chunk = [0; 4096];
    loop {
        match output.read(&mut chunk)? {
            0 => break,
            n => std::io::stdout().write_all(&chunk[..n])?,
        }
    }
    // Its end of the pipe is closed: it is ready and goes on, or it has failed and is about to end.
    match wait_briefly(&mut child)? {
        None => Ok(()),
        Some(status) => bail!("it ended with {status}: {}", last_line(&path)),
    }
}

/// What [`start`] waits for: the pipe is exchanged for the log.
pub fn report_done(detached: bool) -> Result<()> {
    if detached && let Some(path) = std::env::var_os(MARK) {
        rustix::stdio::dup2_stdout(open_log(Path::new(&path))?)?;
    }
    Ok(())
}

/// Logs to stderr: warnings in the foreground, what changes the cluster's state in the background.
pub fn logging(detached: bool) -> Result<()> {
    if detached {
        // Ctrl-C in this terminal is not for it.
        rustix::process::setsid().context("leaving the terminal")?;
    }
    let default = if detached { "info,openraft=warn" } else { "warn" };
    let filter = EnvFilter::try_from_env("CORACLE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(!detached).init();
    Ok(())
}

/// Returns at Ctrl-C or SIGTERM.
pub async fn stop_signal() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn open_log(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600).open(path).with_context(|| format!("opening {}", path.display()))
}

/// `None` while it runs. The pipe's end and the process's end are not the same moment.
fn wait_briefly(child: &mut std::process::Child) -> Result<Option<std::process::ExitStatus>> {
    let pid = rustix::process::Pid::from_child(child);
    let descriptor = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
    let mut fds = [rustix::event::PollFd::new(&descriptor, rustix::event::PollFlags::IN)];
    let grace = rustix::event::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    rustix::event::poll(&mut fds, Some(&grace))?;
    Ok(child.try_wait()?)
}

fn last_line(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.trim_end().rsplit('\n').next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
