//! Running commands in a container and joining its own streams.

use super::error::{engine, of, status, text};
use super::limits;
use crate::{ContainerId, ExecSpec, OutputStream, RuntimeError, Session, TerminalSize};
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, ResizeContainerTTYOptionsBuilder, WaitContainerOptions,
};
use bytes::Bytes;
use futures::StreamExt;
use std::pin::Pin;
use std::time::Instant;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

/// What a session can still ask of Docker.
struct Control {
    docker: Docker,
    target: Target,
}

/// Whose streams they are.
enum Target {
    Exec(String),
    Container(String),
}

pub async fn exec(docker: &Docker, id: &ContainerId, spec: &ExecSpec) -> Result<Session, RuntimeError> {
    let config = ExecConfig {
        cmd: Some(spec.command.clone()),
        tty: Some(spec.tty),
        attach_stdin: Some(spec.stdin),
        attach_stdout: Some(spec.stdout),
        attach_stderr: Some(spec.stderr && !spec.tty),
        ..ExecConfig::default()
    };
    let created = docker.create_exec(&id.0, config).await.map_err(|e| not_running(e, id, "used to run a command"))?;
    let start = StartExecOptions { detach: false, tty: spec.tty, output_capacity: None };
    match docker.start_exec(&created.id, Some(start)).await.map_err(|e| RuntimeError::Start(text(&e)))? {
        StartExecResults::Attached { output, input } => Ok(run(docker, Target::Exec(created.id), spec, output, input)),
        StartExecResults::Detached => Err(RuntimeError::Engine("Docker detached from a command".to_owned())),
    }
}

pub async fn attach(docker: &Docker, id: &ContainerId, spec: &ExecSpec) -> Result<Session, RuntimeError> {
    let options = AttachContainerOptionsBuilder::default()
        .stream(true)
        .stdin(spec.stdin)
        .stdout(spec.stdout)
        .stderr(spec.stderr && !spec.tty)
        .build();
    let attached =
        docker.attach_container(&id.0, Some(options)).await.map_err(|e| not_running(e, id, "attached to"))?;
    Ok(run(docker, Target::Container(id.0.clone()), spec, attached.output, attached.input))
}

fn not_running(e: Error, id: &ContainerId, action: &'static str) -> RuntimeError {
    match status(&e) {
        Some(409) => RuntimeError::WrongState { id: id.0.clone(), state: "not running".to_owned(), action },
        _ => of("container", &id.0)(e),
    }
}

type Output = Pin<Box<dyn futures::Stream<Item = Result<LogOutput, Error>> + Send>>;
type Input = Pin<Box<dyn AsyncWrite + Send>>;

fn run(docker: &Docker, target: Target, spec: &ExecSpec, output: Output, input: Input) -> Session {
    let (output_in, output_out) = mpsc::channel(limits::SESSION_PIECES);
    let (resize_in, resize_out) = mpsc::channel(limits::RESIZES);
    let (exit_in, exit_out) = oneshot::channel();
    let stdin = spec.stdin.then(|| {
        let (stdin_in, stdin_out) = mpsc::channel(limits::SESSION_PIECES);
        tokio::spawn(feed(stdin_out, input));
        stdin_in
    });
    let control = Control { docker: docker.clone(), target };
    tokio::spawn(async move {
        if let Some(exit) = control.pump(output, output_in, resize_out).await {
            // The user may not care how it ended.
            let _unheard = exit_in.send(exit);
        }
    });
    Session { stdin, output: output_out, resize: resize_in, exit: exit_out }
}

/// Until the user's end of input, which is then the program's.
async fn feed(mut from: mpsc::Receiver<Bytes>, mut to: Input) {
    while let Some(bytes) = from.recv().await {
        if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
    // A program that is gone needs no end of input.
    let _gone = to.shutdown().await;
}

impl Control {
    /// How it ended; `None` if the user left before.
    async fn pump(
        &self,
        mut output: Output,
        to: mpsc::Sender<(OutputStream, Bytes)>,
        mut resizes: mpsc::Receiver<TerminalSize>,
    ) -> Option<Result<i32, RuntimeError>> {
        let mut refused = None;
        let mut first = true;
        loop {
            tokio::select! {
                piece = output.next() => match piece {
                    None => break,
                    Some(Err(e)) => return Some(Err(engine(e))),
                    Some(Ok(piece)) => {
                        // Docker tells of a command that cannot be run in the command's own output.
                        if std::mem::take(&mut first) && is_refusal(piece.as_ref()) {
                            refused = Some(String::from_utf8_lossy(piece.as_ref()).trim().to_owned());
                        } else if to.send(stream_of(piece)).await.is_err() {
                            return self.abandon().await;
                        }
                    }
                },
                Some(size) = resizes.recv() => self.resize(size).await,
                () = to.closed() => return self.abandon().await,
            }
        }
        Some(match refused {
            Some(message) => Err(RuntimeError::Start(message)),
            None => self.exit_code().await,
        })
    }

    async fn resize(&self, size: TerminalSize) {
        let result = match &self.target {
            Target::Exec(id) => {
                let options = ResizeExecOptions { height: size.rows, width: size.columns };
                self.docker.resize_exec(id, options).await
            }
            Target::Container(id) => {
                let options = ResizeContainerTTYOptionsBuilder::default().h(size.rows.into()).w(size.columns.into());
                self.docker.resize_container_tty(id, options.build()).await
            }
        };
        // It may have ended meanwhile; a terminal of another size harms nobody.
        if let Err(e) = result {
            tracing::debug!(error = %e, "a terminal could not be resized");
        }
    }

    async fn exit_code(&self) -> Result<i32, RuntimeError> {
        let code = match &self.target {
            Target::Exec(id) => self.exec_code(id).await?,
            Target::Container(id) => {
                let mut waited = Box::pin(self.docker.wait_container(id, None::<WaitContainerOptions>));
                match waited.next().await {
                    Some(Ok(response)) => response.status_code,
                    Some(Err(Error::DockerContainerWaitError { code, .. })) => code,
                    Some(Err(e)) => return Err(engine(e)),
                    None => return Err(RuntimeError::Engine("Docker does not say how the container ended".to_owned())),
                }
            }
        };
        i32::try_from(code).map_err(|_| RuntimeError::Engine(format!("exit code {code}")))
    }

    /// The output may end a moment before Docker knows the code.
    async fn exec_code(&self, id: &str) -> Result<i64, RuntimeError> {
        let began = Instant::now();
        while began.elapsed() < limits::EXIT_CODE {
            let found = self.docker.inspect_exec(id).await.map_err(engine)?;
            if let (Some(false), Some(code)) = (found.running, found.exit_code) {
                return Ok(code);
            }
            tokio::time::sleep(limits::LOOK_AGAIN).await;
        }
        Err(RuntimeError::Engine("Docker does not say how the command ended".to_owned()))
    }

    /// The user left: a command ends with that, a container does not. Docker has no call for it.
    async fn abandon(&self) -> Option<Result<i32, RuntimeError>> {
        let Target::Exec(id) = &self.target else { return None };
        let found = self.docker.inspect_exec(id).await.ok()?;
        let pid = found.pid.filter(|_| found.running == Some(true)).and_then(|pid| i32::try_from(pid).ok())?;
        let pid = rustix::process::Pid::from_raw(pid)?;
        let killed = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
            .and_then(|fd| rustix::process::pidfd_send_signal(fd, rustix::process::Signal::KILL));
        if let Err(e) = killed {
            tracing::debug!(error = %e, "a command that nobody listens to had ended");
        }
        None
    }
}

fn is_refusal(bytes: &[u8]) -> bool {
    bytes.starts_with(b"OCI runtime exec failed")
}

fn stream_of(piece: LogOutput) -> (OutputStream, Bytes) {
    match piece {
        LogOutput::StdErr { message } => (OutputStream::Stderr, message),
        LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message } => {
            (OutputStream::Stdout, message)
        }
    }
}
