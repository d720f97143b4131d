//! The session: open as long as the agent lives. Beats go up, orders to open a stream come down.

use super::client::Link;
use super::watch::jittered;
use crate::limits;
use coracle_proto::nodelink::{Beat, Frame, Order, StreamRequest, frame::Kind};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;

/// Orders as they come, over all reconnections.
pub struct Orders {
    orders: mpsc::Receiver<(String, StreamRequest)>,
    _task: AbortOnDropHandle<()>,
}

/// The agent's side of one stream.
pub struct StreamSide {
    pub frames: mpsc::Sender<Frame>,
    pub incoming: tonic::Streaming<Frame>,
}

impl Orders {
    pub fn start(link: Link) -> Self {
        let (sender, orders) = mpsc::channel(limits::STREAM_QUEUE);
        Self { orders, _task: AbortOnDropHandle::new(tokio::spawn(run(link, sender))) }
    }

    /// The stream's id and what it is for.
    pub async fn next(&mut self) -> (String, StreamRequest) {
        match self.orders.recv().await {
            Some(order) => order,
            // The task ends only when it is dropped.
            None => std::future::pending().await,
        }
    }
}

async fn run(link: Link, orders: mpsc::Sender<(String, StreamRequest)>) {
    let mut wait = limits::RECONNECT_FIRST;
    loop {
        let was_open = follow(&link, &orders).await;
        if was_open {
            wait = limits::RECONNECT_FIRST;
        }
        tokio::time::sleep(jittered(wait)).await;
        wait = (wait * 2).min(limits::RECONNECT_MAX);
    }
}

/// Whether it was open at all.
async fn follow(link: &Link, orders: &mpsc::Sender<(String, StreamRequest)>) -> bool {
    let beat = || Beat { agent_version: env!("CARGO_PKG_VERSION").into() };
    let interval = tokio::time::interval(limits::BEAT_INTERVAL);
    let beats = tokio_stream::wrappers::IntervalStream::new(interval).map(move |_| beat());
    let mut stream = match link.client().session(beats).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => {
            tracing::debug!(%status, "the session could not start");
            return false;
        }
    };
    loop {
        match stream.message().await {
            Ok(Some(Order { stream_id, request: Some(request) })) => {
                if orders.send((stream_id, request)).await.is_err() {
                    return true;
                }
            }
            Ok(Some(Order { stream_id, request: None })) => tracing::warn!(stream_id, "an order says nothing"),
            Ok(None) => return true,
            Err(status) => {
                tracing::debug!(%status, "the session ended");
                return true;
            }
        }
    }
}

impl Link {
    /// Opens the stream that an order asked for.
    pub async fn open_stream(&self, id: String) -> Result<StreamSide, tonic::Status> {
        let (frames, outgoing) = mpsc::channel(limits::STREAM_QUEUE);
        let start = Frame { kind: Some(Kind::Start(id)) };
        let outgoing = tokio_stream::once(start).chain(ReceiverStream::new(outgoing));
        let incoming = self.streams().stream(outgoing).await?.into_inner();
        Ok(StreamSide { frames, incoming })
    }
}
