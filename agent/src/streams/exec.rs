//! Exec and attach: a runtime session joined to a stream.

use super::find::{self, Wanted};
use super::{Out, Source};
use bytes::Bytes;
use coracle_proto::ApiError;
use coracle_proto::nodelink::{Channel, ExecRequest, Frame, frame};
use coracle_runtime::{ExecSpec, OutputStream, RuntimeError, TerminalSize};
use tokio::sync::mpsc;
use tonic::Streaming;

pub async fn serve(
    source: &Source,
    request: &ExecRequest,
    out: &Out,
    incoming: &mut Streaming<Frame>,
) -> Result<i32, ApiError> {
    let wanted = Wanted { namespace: &request.namespace, pod: &request.pod, uid: &request.uid };
    let container = find::running(source, &wanted, &request.container).await?;
    let spec = ExecSpec {
        command: request.command.clone(),
        tty: request.tty,
        stdin: request.stdin,
        stdout: request.stdout,
        // A terminal has one output.
        stderr: request.stderr && !request.tty,
    };
    let session = if request.attach {
        source.runtime.attach(&container.id, &spec).await
    } else {
        source.runtime.exec(&container.id, &spec).await
    };
    let mut session = session.map_err(|e| refused(&e))?;
    let input = feed(incoming, session.stdin.take(), session.resize.clone());
    tokio::pin!(input);
    loop {
        tokio::select! {
            output = session.output.recv() => match output {
                Some((stream, bytes)) => {
                    let channel = if stream == OutputStream::Stderr { Channel::Stderr } else { Channel::Stdout };
                    if !out.data(channel, &bytes).await {
                        return Ok(0);
                    }
                }
                None => break,
            },
            // The client went away: dropping the session ends the command.
            () = &mut input => return Ok(0),
        }
    }
    let code = session.exit.await.map_err(|_| ApiError::internal("the command's end was not seen"))?;
    code.map_err(|e| refused(&e))
}

fn refused(error: &RuntimeError) -> ApiError {
    ApiError::internal(error)
}

/// Passes on what the client sends, until its stream ends.
async fn feed(
    incoming: &mut Streaming<Frame>,
    mut stdin: Option<mpsc::Sender<Bytes>>,
    resize: mpsc::Sender<TerminalSize>,
) {
    while let Ok(Some(Frame { kind: Some(kind) })) = incoming.message().await {
        match kind {
            frame::Kind::Data(data) if data.channel() == Channel::Stdin => {
                if let Some(sender) = &stdin
                    && sender.send(data.bytes.into()).await.is_err()
                {
                    stdin = None;
                }
            }
            frame::Kind::Close(channel) if channel == i32::from(Channel::Stdin) => stdin = None,
            frame::Kind::Resize(size) => {
                let side = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
                let size = TerminalSize { columns: side(size.width), rows: side(size.height) };
                // The command may have ended; then its size does not matter.
                let _ = resize.send(size).await;
            }
            _ => {}
        }
    }
}
