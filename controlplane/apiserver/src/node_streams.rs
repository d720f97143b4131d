//! What the API server needs of whoever holds the links to the nodes.

use async_trait::async_trait;
use coracle_proto::ApiError;
use coracle_proto::nodelink::{Frame, StreamRequest};
use coracle_proto::status::Reason;
use tokio::sync::mpsc;

/// Both directions of one stream to a node. Dropping it ends the stream there.
#[derive(Debug)]
pub struct NodeStream {
    pub tx: mpsc::Sender<Frame>,
    pub rx: mpsc::Receiver<Frame>,
}

#[async_trait]
pub trait NodeStreams: Send + Sync + 'static {
    /// Asks `node` to open a stream, and waits until it has, within a bound.
    async fn open(&self, node: &str, request: StreamRequest) -> Result<NodeStream, ApiError>;
}

/// For a control plane without nodes.
pub struct NoNodes;

#[async_trait]
impl NodeStreams for NoNodes {
    async fn open(&self, node: &str, _request: StreamRequest) -> Result<NodeStream, ApiError> {
        Err(ApiError::new(Reason::ServiceUnavailable, format!("node {node:?} is not connected")))
    }
}
