//! `exec` and `attach` over SPDY: protocol `v4.channel.k8s.io`, between the client's streams and a node's.
//!
//! <https://github.com/kubernetes/kubernetes/tree/master/staging/src/k8s.io/apimachinery/pkg/util/remotecommand> names
//! the streams: `error`, `stdin`, `stdout`, `stderr`, `resize`, each in the header `streamtype`.

use crate::node_streams::NodeStream;
use crate::spdy::{Reader, Session, Stream, Writer};
use coracle_proto::nodelink::{Channel, Data, Frame, Resize, frame};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::mpsc;

/// The newest protocol over SPDY: the exit code as a `Status` on the error stream, resizing as JSON.
pub const PROTOCOL: &str = "v4.channel.k8s.io";

/// How long a client may take to open the streams it asked for.
const STREAMS_WAIT: Duration = Duration::from_secs(30);

/// What the client's query asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

impl Wanted {
    /// With a terminal there is no separate stderr, and a stream for its size.
    fn stream_types(self) -> impl Iterator<Item = &'static str> {
        let list = [
            ("error", true),
            ("stdin", self.stdin),
            ("stdout", self.stdout),
            ("stderr", self.stderr && !self.tty),
            ("resize", self.tty),
        ];
        list.into_iter().filter(|(_, wanted)| *wanted).map(|(name, _)| name)
    }
}

/// Carries everything between the two until the command ends or the client goes.
pub async fn serve(mut session: Session, wanted: Wanted, node: NodeStream) {
    let opened = tokio::time::timeout(STREAMS_WAIT, open_streams(&mut session, wanted)).await;
    let Ok(Some(mut streams)) = opened else {
        tracing::debug!("a client did not open the streams it asked for");
        return;
    };
    let Some(Stream { writer: errors, .. }) = streams.remove("error") else { return };
    let NodeStream { tx, mut rx } = node;
    let mut inputs = tokio::task::JoinSet::new();
    if let Some(stdin) = streams.remove("stdin") {
        inputs.spawn(send_input(stdin.reader, tx.clone()));
    }
    if let Some(resize) = streams.remove("resize") {
        inputs.spawn(send_sizes(resize.reader, tx.clone()));
    }
    let outputs = streams.into_iter().map(|(kind, stream)| (kind, stream.writer)).collect();
    let ended = session.ended();
    let status = tokio::select! {
        status = receive(&mut rx, &outputs) => status,
        () = ended.cancelled() => return,
    };
    for writer in outputs.values() {
        // A client that stopped reading has its reasons.
        let _ = writer.finish().await;
    }
    let _ = errors.write(status.to_string().into()).await;
    let _ = errors.finish().await;
    // The client closes when it has read the status; its data is not ours to cut off.
    let _ = tokio::time::timeout(STREAMS_WAIT, async { while session.accept().await.is_some() {} }).await;
}

/// `None` if the client goes first.
async fn open_streams(session: &mut Session, wanted: Wanted) -> Option<HashMap<&'static str, Stream>> {
    let mut missing: Vec<&'static str> = wanted.stream_types().collect();
    let mut streams = HashMap::new();
    while !missing.is_empty() {
        let stream = session.accept().await?;
        let kind = stream.header("streamtype").and_then(|kind| missing.iter().position(|m| *m == kind));
        match kind {
            Some(at) => {
                stream.reply().await.ok()?;
                streams.insert(missing.swap_remove(at), stream);
            }
            None => stream.refuse().await,
        }
    }
    Some(streams)
}

async fn send_input(mut stdin: Reader, node: mpsc::Sender<Frame>) {
    while let Some(bytes) = stdin.read().await {
        let data = Data { channel: Channel::Stdin.into(), bytes: bytes.into() };
        if node.send(Frame { kind: Some(frame::Kind::Data(data)) }).await.is_err() {
            return;
        }
    }
    let close = Frame { kind: Some(frame::Kind::Close(Channel::Stdin.into())) };
    // The command may have ended without reading to the end.
    let _ = node.send(close).await;
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TerminalSize {
    width: u16,
    height: u16,
}

/// The sizes come as JSON objects one after another, cut anywhere.
async fn send_sizes(mut sizes: Reader, node: mpsc::Sender<Frame>) {
    /// An object with two numbers is far shorter.
    const MAX_PENDING: usize = 1024;
    let mut pending = Vec::new();
    while let Some(bytes) = sizes.read().await {
        pending.extend_from_slice(&bytes);
        let mut stream = serde_json::Deserializer::from_slice(&pending).into_iter::<TerminalSize>();
        let mut latest = None;
        while let Some(Ok(size)) = stream.next() {
            latest = Some(size);
        }
        let read = stream.byte_offset();
        pending.drain(..read);
        if pending.len() > MAX_PENDING {
            return;
        }
        if let Some(size) = latest {
            let resize = Resize { width: size.width.into(), height: size.height.into() };
            if node.send(Frame { kind: Some(frame::Kind::Resize(resize)) }).await.is_err() {
                return;
            }
        }
    }
}

/// Hands output on until the node says how it ended: the `Status` for the client.
async fn receive(node: &mut mpsc::Receiver<Frame>, outputs: &HashMap<&'static str, Writer>) -> Value {
    while let Some(frame) = node.recv().await {
        match frame.kind {
            Some(frame::Kind::Data(data)) => {
                let kind = if data.channel() == Channel::Stderr { "stderr" } else { "stdout" };
                if let Some(writer) = outputs.get(kind) {
                    // Output that nobody reads any more must not stop the command.
                    let _ = writer.write(data.bytes.into()).await;
                }
            }
            Some(frame::Kind::Exit(exit)) => return exit_status(exit.code),
            Some(frame::Kind::Error(status)) => {
                return serde_json::from_slice(&status).unwrap_or_else(|_| lost("the node sent a damaged status"));
            }
            _ => {}
        }
    }
    lost("the node's connection was lost")
}

fn exit_status(code: i32) -> Value {
    if code == 0 {
        return json!({"metadata": {}, "status": "Success"});
    }
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    })
}

fn lost(why: &str) -> Value {
    coracle_proto::ApiError::internal(why).to_status()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_has_no_stderr() {
        let wanted = Wanted { stdin: true, stdout: true, stderr: true, tty: true };
        assert_eq!(wanted.stream_types().collect::<Vec<_>>(), ["error", "stdin", "stdout", "resize"]);
    }

    #[test]
    fn exit_codes_travel_in_the_status() {
        assert_eq!(exit_status(0)["status"], "Success");
        assert_eq!(exit_status(3)["details"]["causes"][0]["message"], "3");
    }
}
