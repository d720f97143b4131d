//! Which nodes are connected, and the streams opened to them: the apiserver's `NodeStreams`.
//!
//! A stream begins as an `Order` on the node's session. The agent answers by opening the `Stream` call whose first
//! frame names the order; the two halves then meet here.

use crate::limits::{FRAMES_BUFFERED, ORDERS_BUFFERED, STREAM_OPEN_WAIT};
use async_trait::async_trait;
use coracle_apiserver::node_streams::{NodeStream, NodeStreams};
use coracle_proto::ApiError;
use coracle_proto::nodelink::{Frame, Order, StreamRequest};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// The connected nodes. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By node name; the newest session of a node wins.
    nodes: HashMap<String, mpsc::Sender<Order>>,
    /// Ordered, not yet answered, by stream id.
    pending: HashMap<String, Pending>,
}

struct Pending {
    node: String,
    answer: oneshot::Sender<NodeStream>,
}

/// The agent's side of a stream that was ordered.
pub(crate) struct Answered {
    /// Frames for the agent.
    pub to_agent: mpsc::Receiver<Frame>,
    /// Frames from the agent.
    pub from_agent: mpsc::Sender<Frame>,
}

impl Sessions {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; if it did, the maps are still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a node's session; its orders come out of the receiver.
    pub(crate) fn open_session(&self, node: &str) -> mpsc::Receiver<Order> {
        let (orders, receiver) = mpsc::channel(ORDERS_BUFFERED);
        self.state().nodes.insert(node.into(), orders);
        receiver
    }

    /// Forgets the session whose receiver is gone; a newer one of the same node stays.
    pub(crate) fn close_session(&self, node: &str) {
        let mut state = self.state();
        if state.nodes.get(node).is_some_and(mpsc::Sender::is_closed) {
            state.nodes.remove(node);
        }
    }

    /// Joins an agent's `Stream` call with the order it names. `None`: nobody of that node waits for it (any more).
    pub(crate) fn answer(&self, node: &str, stream_id: &str) -> Option<Answered> {
        let pending = {
            let mut state = self.state();
            state.pending.get(stream_id).filter(|p| p.node == node)?;
            state.pending.remove(stream_id)?
        };
        let (tx, to_agent) = mpsc::channel(FRAMES_BUFFERED);
        let (from_agent, rx) = mpsc::channel(FRAMES_BUFFERED);
        pending.answer.send(NodeStream { tx, rx }).ok()?;
        Some(Answered { to_agent, from_agent })
    }
}

#[async_trait]
impl NodeStreams for Sessions {
    async fn open(&self, node: &str, request: StreamRequest) -> Result<NodeStream, ApiError> {
        let stream_id = uuid::Uuid::new_v4().to_string();
        let (answer, answered) = oneshot::channel();
        let orders = {
            let mut state = self.state();
            let orders = state.nodes.get(node).cloned().ok_or_else(|| not_connected(node))?;
            state.pending.insert(stream_id.clone(), Pending { node: node.into(), answer });
            orders
        };
        let waiting = Waiting { sessions: self, stream_id: &stream_id };
        let order = Order { stream_id: stream_id.clone(), request: Some(request) };
        orders.send(order).await.map_err(|_| not_connected(node))?;
        let stream = tokio::time::timeout(STREAM_OPEN_WAIT, answered)
            .await
            .map_err(|_| ApiError::timeout(format!("node {node:?} did not answer in {STREAM_OPEN_WAIT:?}")))?
            .map_err(|_| not_connected(node))?;
        drop(waiting);
        Ok(stream)
    }
}

/// Takes the order back when whoever waits for its answer gives up.
struct Waiting<'a> {
    sessions: &'a Sessions,
    stream_id: &'a str,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.sessions.state().pending.remove(self.stream_id);
    }
}

fn not_connected(node: &str) -> ApiError {
    ApiError::unavailable(format!("the agent of node {node:?} is not connected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_order_meets_its_answer_and_nobody_elses() {
        let sessions = Sessions::default();
        let mut orders = sessions.open_session("a");
        let opening = tokio::spawn({
            let sessions = sessions.clone();
            async move { sessions.open("a", StreamRequest::default()).await }
        });
        let order = orders.recv().await.expect("an order");
        assert!(sessions.answer("b", &order.stream_id).is_none(), "another node must not take it");
        let mut answered = sessions.answer("a", &order.stream_id).expect("the node it was for");
        assert!(sessions.answer("a", &order.stream_id).is_none(), "only once");
        let stream = opening.await.expect("no panic").expect("opened");
        stream.tx.send(Frame::default()).await.expect("sent");
        assert_eq!(answered.to_agent.recv().await, Some(Frame::default()));
    }

    #[tokio::test]
    async fn a_node_without_a_session_is_an_error() {
        let sessions = Sessions::default();
        let error = sessions.open("a", StreamRequest::default()).await.expect_err("refused");
        assert_eq!(error.code(), 503);
        drop(sessions.open_session("a"));
        sessions.close_session("a");
        assert!(sessions.state().nodes.is_empty());
    }
}
