//! Starts a process in a container: forks a child of the shim, which has one thread, and calls libcontainer there. The
//! process becomes the shim's own child (`as_sibling`), the launching child ends, and the shim's memory stays small.

use super::job::{Job, Process};
use super::payload::Payload;
use super::report::{Report, send};
use super::rootfs;
use crate::sys::{self, Fork};
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::error::LibcontainerError;
use libcontainer::syscall::syscall::SyscallType;
use std::error::Error;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

/// libcontainer's own state, in the container's folder.
const STATE: &str = "oci";

/// Which process of the container.
pub enum Launch<'a> {
    First,
    /// Its number, unique in this shim.
    Exec(u32, &'a Process),
}

/// What the new process gets as its standard streams.
pub enum Streams {
    Pipes {
        stdin: Option<OwnedFd>,
        stdout: OwnedFd,
        stderr: OwnedFd,
    },
    /// A terminal is made inside the container and its master sent to this socket.
    Terminal(PathBuf),
}

/// Forks. The child reports through `report` and never returns.
pub fn start(folder: &Path, job: &Job, launch: &Launch<'_>, streams: Streams, report: OwnedFd) -> nix::Result<()> {
    match sys::fork()? {
        Fork::Parent(_) => Ok(()),
        Fork::Child => {
            let done = child(folder, job, launch, streams, &report);
            if let Err(why) = &done {
                send(report.as_fd(), &Report::Failed(why.clone()));
            }
            sys::exit_now(i32::from(done.is_err()));
        }
    }
}

fn child(folder: &Path, job: &Job, launch: &Launch<'_>, streams: Streams, report: &OwnedFd) -> Result<(), String> {
    sys::reset_signals().map_err(|error| format!("resetting signals: {error}"))?;
    let details = report.try_clone().map_err(|error| error.to_string())?;
    // The launcher has no other subscriber; a second call can't happen in a fresh child.
    let _ = tracing::subscriber::set_global_default(Details(details));
    score(job, report);
    let process = match launch {
        Launch::First => &job.process,
        Launch::Exec(_, process) => process,
    };
    let payload = Payload::new(process, report).map_err(|error| error.to_string())?;
    let builder = ContainerBuilder::new(job.container.clone(), SyscallType::default())
        .with_root_path(folder.join(STATE))
        .and_then(ContainerBuilder::validate_id)
        .map_err(explain)?
        .with_executor(payload);
    let builder = match streams {
        Streams::Terminal(socket) => builder.with_console_socket(Some(socket)),
        Streams::Pipes { stdin, stdout, stderr } => {
            let builder = builder.with_stdout(stdout).with_stderr(stderr);
            match stdin {
                Some(stdin) => builder.with_stdin(stdin),
                None => builder,
            }
        }
    };
    match launch {
        Launch::First => first(folder, job, builder, report),
        Launch::Exec(number, process) => exec(folder, *number, process, builder, report),
    }
}

fn first(folder: &Path, job: &Job, builder: ContainerBuilder, report: &OwnedFd) -> Result<(), String> {
    rootfs::prepare(folder, job)?;
    let mut container =
        builder.as_init(folder).with_systemd(false).with_detach(true).as_sibling(true).build().map_err(explain)?;
    let pid = container.pid().ok_or("libcontainer made no process")?;
    send(report.as_fd(), &Report::Pid(pid.as_raw()));
    container.start().map_err(explain)
}

fn exec(
    folder: &Path,
    number: u32,
    process: &Process,
    builder: ContainerBuilder,
    report: &OwnedFd,
) -> Result<(), String> {
    let file = folder.join(format!("exec-{number}.json"));
    let spec = crate::spec::process(process.tty, process.privileges.no_new_privileges);
    let written = serde_json::to_vec(&spec).map_err(|error| error.to_string())?;
    fs::write(&file, written).map_err(|error| format!("writing {}: {error}", file.display()))?;
    let done = builder.as_tenant().with_process(Some(&file)).with_detach(true).as_sibling(true).build();
    // Whether or not it runs, libcontainer has read it.
    let _ = fs::remove_file(&file);
    send(report.as_fd(), &Report::Pid(done.map_err(explain)?.as_raw()));
    Ok(())
}

/// Inherited by the container. Not part of the OCI spec: libcontainer would fail where the kernel refuses it.
fn score(job: &Job, report: &OwnedFd) {
    if let Err(error) = fs::write("/proc/self/oom_score_adj", job.oom_score_adj.to_string()) {
        let text = format!("oom_score_adj {} was refused by the kernel and is left out: {error}", job.oom_score_adj);
        send(report.as_fd(), &Report::Warning(text));
    }
}

fn explain(error: LibcontainerError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Sends libcontainer's error messages to the shim: the errors it returns across processes say only what failed, not
/// why.
struct Details(OwnedFd);

impl Subscriber for Details {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() == Level::ERROR
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        send(self.0.as_fd(), &Report::Detail(text.0));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if !self.0.is_empty() {
            self.0.push_str(", ");
        }
        match field.name() {
            "message" => self.0.push_str(&format!("{value:?}")),
            name => self.0.push_str(&format!("{name}={value:?}")),
        }
    }
}

/// Where a terminal's master is sent, for process `number` of this shim.
pub fn console_socket(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("console-{number}.sock"))
}
