//! Streams that the control plane orders: logs, exec and attach, port-forward. Each is a gRPC call of its own.

mod exec;
mod find;
mod forward;
mod logs;

use crate::limits;
use crate::link::{Link, Orders, StreamSide};
use crate::pods::Statuses;
use bytes::Bytes;
use coracle_proto::ApiError;
use coracle_proto::nodelink::stream_request::Kind as Request;
use coracle_proto::nodelink::{Channel, Data, Exit, Frame, StreamRequest, frame};
use coracle_runtime::Runtime;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};

/// What streams need to find pods.
#[derive(Clone)]
pub struct Source {
    pub runtime: Arc<dyn Runtime>,
    pub statuses: Statuses,
}

/// Serves orders until it is dropped; streams that run then end with it.
pub async fn serve(link: Link, source: Source) {
    let mut orders = Orders::start(link.clone());
    let places = Arc::new(Semaphore::new(limits::STREAMS_MAX));
    let mut running = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            (id, request) = orders.next() => {
                let place = places.clone().try_acquire_owned();
                let (link, source) = (link.clone(), source.clone());
                running.spawn(async move {
                    let full = place.is_err();
                    one(&link, &source, id, request, full).await;
                    drop(place);
                });
            }
            Some(done) = running.join_next() => {
                if let Err(error) = done {
                    tracing::error!(%error, "a stream was interrupted");
                }
            }
        }
    }
}

async fn one(link: &Link, source: &Source, id: String, request: StreamRequest, full: bool) {
    let side = match link.open_stream(id).await {
        Ok(side) => side,
        Err(status) => {
            tracing::debug!(%status, "a stream that was ordered could not be opened");
            return;
        }
    };
    let StreamSide { frames, mut incoming } = side;
    let out = Out(frames);
    let served = match request.kind {
        _ if full => Err(ApiError::unavailable("too many streams are open on this node")),
        Some(Request::Log(request)) => logs::serve(source, &request, &out).await,
        Some(Request::Exec(request)) => exec::serve(source, &request, &out, &mut incoming).await,
        Some(Request::PortForward(request)) => forward::serve(source, &request, &out, &mut incoming).await,
        None => Err(ApiError::bad_request("the stream is for nothing that this agent knows")),
    };
    let last = match served {
        Ok(code) => frame::Kind::Exit(Exit { code }),
        Err(error) => frame::Kind::Error(error.to_status().to_string().into_bytes()),
    };
    out.send(last).await;
    drop(out);
    // Dropping the incoming half resets the stream, and what is still being sent would be lost with it.
    let drained = async { while let Ok(Some(_)) = incoming.message().await {} };
    if tokio::time::timeout(limits::STREAM_DRAIN, drained).await.is_err() {
        tracing::debug!("the control plane did not close a stream that ended");
    }
}

/// Frames to the control plane.
#[derive(Clone)]
pub struct Out(mpsc::Sender<Frame>);

impl Out {
    /// False once nobody listens.
    pub async fn send(&self, kind: frame::Kind) -> bool {
        self.0.send(Frame { kind: Some(kind) }).await.is_ok()
    }

    /// In frames of bounded size.
    pub async fn data(&self, channel: Channel, bytes: &Bytes) -> bool {
        for chunk in bytes.chunks(limits::FRAME_MAX_BYTES) {
            let data = Data { channel: channel.into(), bytes: chunk.to_vec() };
            if !self.send(frame::Kind::Data(data)).await {
                return false;
            }
        }
        true
    }

    pub async fn closed(&self) {
        self.0.closed().await;
    }
}
