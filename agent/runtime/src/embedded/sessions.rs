//! Exec and attach: a session's channels carried over a shim's socket.

use super::records::state_name;
use super::wire::{self, Reader, Writer};
use super::{Inner, io_failed};
use crate::frame::{Frame, What};
use crate::limits::{CHUNK_BYTES, SESSION_CHUNKS, START};
use crate::{ContainerId, ExecSpec, OutputStream, RuntimeError, Session, State, TerminalSize};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

pub async fn exec(inner: &Inner, id: &ContainerId, spec: &ExecSpec) -> Result<Session, RuntimeError> {
    if spec.command.is_empty() {
        return Err(RuntimeError::Start("no command specified".to_owned()));
    }
    let what = What::Exec {
        command: spec.command.clone(),
        tty: spec.tty,
        stdin: spec.stdin,
        stdout: spec.stdout,
        stderr: spec.stderr,
    };
    begin(inner, id, spec, what, "entered").await
}

pub async fn attach(inner: &Inner, id: &ContainerId, spec: &ExecSpec) -> Result<Session, RuntimeError> {
    let what = What::Attach { stdin: spec.stdin, stdout: spec.stdout, stderr: spec.stderr };
    begin(inner, id, spec, what, "attached to").await
}

async fn begin(
    inner: &Inner,
    id: &ContainerId,
    spec: &ExecSpec,
    what: What,
    action: &'static str,
) -> Result<Session, RuntimeError> {
    let state = inner.table.state(id)?;
    if !matches!(state, State::Running { .. }) {
        let state = state_name(&state).to_owned();
        return Err(RuntimeError::WrongState { id: id.0.clone(), state, action });
    }
    let (mut reader, writer) = wire::ask(&inner.files.container(id), what).await?;
    match timeout(START, reader.next()).await {
        Ok(first) => match first? {
            Some(Frame::Started(_)) => Ok(session(spec, reader, writer)),
            Some(Frame::Failed(why)) => Err(RuntimeError::Start(why)),
            _ => Err(ended_early()),
        },
        Err(_) => Err(RuntimeError::Start(format!("nothing started within {} s", START.as_secs()))),
    }
}

fn ended_early() -> RuntimeError {
    io_failed("talking to the shim")(std::io::ErrorKind::UnexpectedEof.into())
}

fn session(spec: &ExecSpec, reader: Reader, writer: Writer) -> Session {
    let (stdin, input) = mpsc::channel(SESSION_CHUNKS);
    let (resize, sizes) = mpsc::channel(SESSION_CHUNKS);
    let (output_tx, output) = mpsc::channel(SESSION_CHUNKS);
    let (exit_tx, exit) = oneshot::channel();
    let stdin = spec.stdin.then_some(stdin);
    let wanted = Wanted { stdout: spec.stdout || spec.tty, stderr: spec.stderr };
    tokio::spawn(async move {
        let speaking = tokio::spawn(speak(writer, input, sizes));
        listen(reader, wanted, output_tx, exit_tx).await;
        // With it goes the connection, and so an exec's process.
        speaking.abort();
    });
    Session { stdin, output, resize, exit }
}

#[derive(Clone, Copy)]
struct Wanted {
    stdout: bool,
    stderr: bool,
}

/// Carries output until the exit code is there, or until nobody holds the session any more.
async fn listen(
    mut reader: Reader,
    wanted: Wanted,
    output: mpsc::Sender<(OutputStream, Bytes)>,
    mut exit: oneshot::Sender<Result<i32, RuntimeError>>,
) {
    loop {
        let frame = tokio::select! {
            frame = reader.next() => frame,
            () = dropped(&output, &mut exit) => return,
        };
        let result = match frame {
            Ok(Some(Frame::Output(stream, bytes))) => {
                let heard = match stream {
                    OutputStream::Stdout => wanted.stdout,
                    OutputStream::Stderr => wanted.stderr,
                };
                if heard {
                    // A user who wants only the exit code has dropped this end.
                    let _ = output.send((stream, bytes.into())).await;
                }
                continue;
            }
            Ok(Some(Frame::Exit(code))) => Ok(code),
            Ok(Some(Frame::Failed(why))) => Err(RuntimeError::Start(why)),
            Ok(Some(_)) => continue,
            Ok(None) => Err(ended_early()),
            Err(error) => Err(error),
        };
        drop(output);
        // A user may not care.
        let _ = exit.send(result);
        return;
    }
}

async fn dropped(output: &mpsc::Sender<(OutputStream, Bytes)>, exit: &mut oneshot::Sender<Result<i32, RuntimeError>>) {
    output.closed().await;
    exit.closed().await;
}

/// Carries input and sizes. Holds the connection's writing half until it is stopped.
async fn speak(mut writer: Writer, mut input: mpsc::Receiver<Bytes>, mut sizes: mpsc::Receiver<TerminalSize>) {
    let (mut speaking, mut sizing) = (true, true);
    while speaking || sizing {
        let sent = tokio::select! {
            bytes = input.recv(), if speaking => match bytes {
                Some(bytes) => send(&mut writer, &bytes).await,
                None => {
                    speaking = false;
                    writer.send(&Frame::StdinEnd).await
                }
            },
            size = sizes.recv(), if sizing => match size {
                Some(size) => writer.send(&Frame::Resize(size)).await,
                None => {
                    sizing = false;
                    Ok(())
                }
            },
        };
        if sent.is_err() {
            // The other half hears of it.
            break;
        }
    }
    std::future::pending().await
}

async fn send(writer: &mut Writer, bytes: &Bytes) -> Result<(), RuntimeError> {
    for chunk in bytes.chunks(CHUNK_BYTES) {
        writer.send(&Frame::Stdin(chunk.to_vec())).await?;
    }
    Ok(())
}
