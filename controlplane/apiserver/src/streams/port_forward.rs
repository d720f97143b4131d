//! `port-forward` over SPDY: protocol `portforward.k8s.io`. Every forwarded connection is a pair of streams with the
//! same `requestid`: `data`, and `error` for what goes wrong.

use crate::node_streams::NodeStream;
use crate::spdy::{Reader, Session, Stream, Writer};
use coracle_proto::ApiError;
use coracle_proto::nodelink::{Channel, Data, Frame, frame};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use tokio::task::JoinSet;

pub const PROTOCOL: &str = "portforward.k8s.io";

/// Streams whose other half has not come yet.
const UNPAIRED: usize = 64;

/// The two streams of one connection.
struct Pair {
    port: u16,
    data: Stream,
    error: Stream,
}

/// Carries connections until the client goes. `open` dials a port of the pod.
pub async fn serve<F, R>(mut session: Session, open: F)
where
    F: Fn(u16) -> R + Send + Sync + 'static,
    R: Future<Output = Result<NodeStream, ApiError>> + Send,
{
    let open = Arc::new(open);
    let mut waiting: HashMap<String, Stream> = HashMap::new();
    let mut connections = JoinSet::new();
    while let Some(stream) = session.accept().await {
        while connections.try_join_next().is_some() {}
        if let Some(pair) = pair(&mut waiting, stream).await {
            let open = open.clone();
            connections.spawn(async move { forward(pair, &*open).await });
        }
    }
}

/// The pair this stream completes, if it does. A stream without a sensible port is refused.
async fn pair(waiting: &mut HashMap<String, Stream>, stream: Stream) -> Option<Pair> {
    let port = stream.header("port").and_then(|p| p.parse().ok()).filter(|p| *p != 0);
    let request = stream.header("requestid").unwrap_or_default().to_owned();
    let is_error = stream.header("streamtype") == Some("error");
    let known = is_error || stream.header("streamtype") == Some("data");
    let (Some(port), true, true) = (port, known, waiting.len() < UNPAIRED) else {
        stream.refuse().await;
        return None;
    };
    stream.reply().await.ok()?;
    let Some(other) = waiting.remove(&request) else {
        waiting.insert(request, stream);
        return None;
    };
    let (data, error) = if is_error { (other, stream) } else { (stream, other) };
    Some(Pair { port, data, error })
}

async fn forward<F, R>(pair: Pair, open: &F)
where
    F: Fn(u16) -> R,
    R: Future<Output = Result<NodeStream, ApiError>>,
{
    let Pair { port, data, error } = pair;
    let result = match open(port).await {
        Ok(node) => carry(data.reader, &data.writer, node).await,
        Err(why) => Err(why.message),
    };
    if let Err(why) = result {
        let text = format!("an error occurred forwarding {port} -> {port}: {why}");
        // A client that has gone does not read why.
        let _ = error.writer.write(text.into()).await;
    }
    let _ = data.writer.finish().await;
    let _ = error.writer.finish().await;
}

/// Both directions, until the pod's side ends. The client may finish sending and still read.
async fn carry(mut reader: Reader, writer: &Writer, node: NodeStream) -> Result<(), String> {
    let NodeStream { tx, mut rx } = node;
    let input = async {
        while let Some(bytes) = reader.read().await {
            let data = Data { channel: Channel::Stdin.into(), bytes: bytes.into() };
            if tx.send(Frame { kind: Some(frame::Kind::Data(data)) }).await.is_err() {
                break;
            }
        }
        // The pod may have closed first.
        let _ = tx.send(Frame { kind: Some(frame::Kind::Close(Channel::Stdin.into())) }).await;
        std::future::pending().await
    };
    let output = async {
        while let Some(frame) = rx.recv().await {
            match frame.kind {
                Some(frame::Kind::Data(data)) => match writer.write(data.bytes.into()).await {
                    Ok(()) => {}
                    Err(_) => break,
                },
                Some(frame::Kind::Close(_) | frame::Kind::Exit(_)) => break,
                Some(frame::Kind::Error(status)) => {
                    let status = serde_json::from_slice::<serde_json::Value>(&status).unwrap_or_default();
                    return Err(status["message"].as_str().unwrap_or("the node sent a damaged status").to_owned());
                }
                _ => {}
            }
        }
        Ok(())
    };
    let gone = writer.gone();
    tokio::select! {
        result = output => result,
        () = input => Ok(()),
        () = gone.cancelled() => Ok(()),
    }
}
