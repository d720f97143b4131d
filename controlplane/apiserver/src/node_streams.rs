//! Streams to a node: what the API server needs of whoever holds the nodes' sessions.

use async_trait::async_trait;
use coracle_proto::ApiError;
use coracle_proto::nodelink::{Frame, StreamRequest};
use tokio::sync::mpsc;

/// Both ends close when one is dropped.
#[derive(Debug)]
pub struct NodeStream {
    /// Frames for the node.
    pub tx: mpsc::Sender<Frame>,
    /// Frames from the node; the last is `exit` or `error`.
    pub rx: mpsc::Receiver<Frame>,
}

#[async_trait]
pub trait NodeStreams: Send + Sync + 'static {
    /// Returns once the node has answered, within a bound.
    async fn open(&self, node: &str, request: StreamRequest) -> Result<NodeStream, ApiError>;
}

/// For a control plane without nodes.
pub struct NoNodes;

#[async_trait]
impl NodeStreams for NoNodes {
    async fn open(&self, node: &str, _request: StreamRequest) -> Result<NodeStream, ApiError> {
        Err(ApiError::unavailable(format!("node {node:?} is not connected")))
    }
}
