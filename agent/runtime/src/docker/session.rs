//! Running commands in a container and joining its own streams.

use super::error::{self, engine, of, status};
use super::state::without_noise;
use super::{limits, processes};
use crate::{ContainerId, ExecSpec, OutputStream, RuntimeError, Session, TerminalSize};
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, InspectContainerOptions, ResizeContainerTTYOptionsBuilder, WaitContainerOptions,
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
    match docker.start_exec(&created.id, Some(start)).await.map_err(error::start)? {
        StartExecResults::Attached { mut output, input } => {
            let control = Control { docker: docker.clone(), target: Target::Exec(created.id) };
            let first = control.first_output(&mut output).await?;
            let output = futures::stream::iter(first).chain(output).boxed();
            Ok(run(control, spec, output, input, true))
        }
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
    let found =
        docker.inspect_container(&id.0, None::<InspectContainerOptions>).await.map_err(of("container", &id.0))?;
    let once = found.config.and_then(|config| config.stdin_once) == Some(true);
    let control = Control { docker: docker.clone(), target: Target::Container(id.0.clone()) };
    Ok(run(control, spec, attached.output, attached.input, once))
}

fn not_running(e: Error, id: &ContainerId, action: &'static str) -> RuntimeError {
    match status(&e) {
        Some(409) => RuntimeError::WrongState { id: id.0.clone(), state: "not running".to_owned(), action },
        _ => of("container", &id.0)(e),
    }
}

type Output = Pin<Box<dyn futures::Stream<Item = Result<LogOutput, Error>> + Send>>;
type Input = Pin<Box<dyn AsyncWrite + Send>>;

/// `ends_input`: the user's end of input is the program's. Docker would take it for the end of an attach otherwise.
fn run(control: Control, spec: &ExecSpec, output: Output, input: Input, ends_input: bool) -> Session {
    let (output_in, output_out) = mpsc::channel(limits::SESSION_PIECES);
    let (resize_in, resize_out) = mpsc::channel(limits::RESIZES);
    let (exit_in, exit_out) = oneshot::channel();
    let (ended_in, ended_out) = oneshot::channel::<()>();
    let stdin = spec.stdin.then(|| {
        let (stdin_in, stdin_out) = mpsc::channel(limits::SESSION_PIECES);
        tokio::spawn(feed(stdin_out, input, ends_input, ended_out));
        stdin_in
    });
    tokio::spawn(async move {
        if let Some(exit) = control.pump(output, output_in, resize_out).await {
            // The user may not care how it ended.
            let _unheard = exit_in.send(exit);
        }
        drop(ended_in);
    });
    Session { stdin, output: output_out, resize: resize_in, exit: exit_out }
}

async fn feed(mut from: mpsc::Receiver<Bytes>, mut to: Input, ends_input: bool, ended: oneshot::Receiver<()>) {
    while let Some(bytes) = from.recv().await {
        if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
    if ends_input {
        // A program that is gone needs no end of input.
        let _gone = to.shutdown().await;
    }
    // The connection's other direction goes on; this one must not be closed before.
    let _session_over = ended.await;
}

impl Control {
    /// How it ended; `None` if the user left before.
    async fn pump(
        &self,
        mut output: Output,
        to: mpsc::Sender<(OutputStream, Bytes)>,
        mut resizes: mpsc::Receiver<TerminalSize>,
    ) -> Option<Result<i32, RuntimeError>> {
        loop {
            tokio::select! {
                piece = output.next() => match piece {
                    None => return Some(self.exit_code().await),
                    Some(Err(e)) => return Some(Err(engine(e))),
                    Some(Ok(piece)) => {
                        if let Err(left) = self.pass_on(&to, stream_of(piece)).await {
                            self.abandon().await;
                            return left;
                        }
                    }
                },
                Some(size) = resizes.recv() => self.resize(size).await,
                () = to.closed() => {
                    self.abandon().await;
                    return None;
                }
            }
        }
    }

    /// An attached user that does not read is let go, or the container would wait for it. A command may wait.
    async fn pass_on(
        &self,
        to: &mpsc::Sender<(OutputStream, Bytes)>,
        piece: (OutputStream, Bytes),
    ) -> Result<(), Option<Result<i32, RuntimeError>>> {
        let sent = match &self.target {
            Target::Exec(_) => Ok(to.send(piece).await),
            Target::Container(_) => tokio::time::timeout(limits::DEAF, to.send(piece)).await,
        };
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_gone)) => Err(None),
            Err(_late) => Err(Some(Err(RuntimeError::Engine(format!("nobody read for {:?}", limits::DEAF))))),
        }
    }

    /// Docker tells of a command that cannot be run in the command's own output. Waits until it has started; returns what
    /// it wrote by then.
    async fn first_output(&self, output: &mut Output) -> Result<Option<Result<LogOutput, Error>>, RuntimeError> {
        let Target::Exec(id) = &self.target else { return Ok(None) };
        loop {
            match tokio::time::timeout(limits::LOOK_AGAIN, output.next()).await {
                Ok(Some(Ok(piece))) if is_refusal(piece.as_ref()) => {
                    let message = String::from_utf8_lossy(piece.as_ref()).into_owned();
                    return Err(RuntimeError::Start(without_noise(&message)));
                }
                Ok(first) => return Ok(first),
                Err(_) => {}
            }
            let found = self.docker.inspect_exec(id).await.map_err(engine)?;
            if found.pid.is_some_and(|pid| pid > 0) {
                return Ok(None);
            }
        }
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
    async fn abandon(&self) {
        let Target::Exec(id) = &self.target else { return };
        let found = match self.docker.inspect_exec(id).await {
            Ok(found) => found,
            Err(e) => return tracing::warn!(error = %e, "a command that nobody listens to is not found"),
        };
        if let Some(pid) = found.pid.filter(|pid| *pid > 0).and_then(|pid| i32::try_from(pid).ok()) {
            processes::kill_session(pid);
        }
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
