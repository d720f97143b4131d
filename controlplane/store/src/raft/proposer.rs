//! Group commit: transactions that arrive while the previous ones are being synced share one Raft entry, and so one
//! sync. Nobody waits for company: what is queued when there is room goes at once.

use super::command::Batch;
use super::waiting::{Outcome, Waiting};
use super::{Raft, Types};
use crate::limits::{BATCH_BYTES, BATCH_TXNS, BATCHES_IN_FLIGHT, PROPOSE_QUEUE};
use crate::replica::Replica;
use crate::state::{Millis, Proposal, ProposalId};
use crate::{StoreError, size};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use openraft::errors::{ClientWriteError, RaftError};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// A transaction and whoever waits for it.
pub struct Request {
    pub proposal: Proposal,
    pub caller: oneshot::Sender<Outcome>,
}

pub struct Proposer {
    raft: Raft,
    replica: Arc<Replica>,
    waiting: Arc<Waiting>,
}

type Flight = BoxFuture<'static, (Vec<ProposalId>, Result<(), RaftError<Types, ClientWriteError<Types>>>)>;

impl Proposer {
    pub fn start(raft: Raft, replica: Arc<Replica>, waiting: Arc<Waiting>) -> mpsc::Sender<Request> {
        let (requests, queue) = mpsc::channel(PROPOSE_QUEUE);
        tokio::spawn(Proposer { raft, replica, waiting }.run(queue));
        requests
    }

    /// Ends when nobody can send any more and everything sent is answered.
    async fn run(self, mut queue: mpsc::Receiver<Request>) {
        let mut flights = FuturesUnordered::<Flight>::new();
        loop {
            tokio::select! {
                biased;
                Some((ids, outcome)) = flights.next(), if !flights.is_empty() => self.land(&ids, outcome),
                first = queue.recv(), if flights.len() < BATCHES_IN_FLIGHT => match first {
                    Some(first) => flights.push(self.launch(gather(first, &mut queue))),
                    None => break,
                },
            }
        }
        while let Some((ids, outcome)) = flights.next().await {
            self.land(&ids, outcome);
        }
    }

    fn launch(&self, requests: Vec<Request>) -> Flight {
        let mut ids = Vec::with_capacity(requests.len());
        let mut proposals = Vec::with_capacity(requests.len());
        for Request { proposal, caller } in requests {
            ids.push(proposal.id);
            self.waiting.register(proposal.id, caller);
            proposals.push(proposal);
        }
        let batch = Batch { at: Millis::now(), proposals };
        let command = batch.encode().expect("every size was checked when the transaction came in");
        let raft = self.raft.clone();
        async move { (ids, raft.client_write(command).await.map(|_| ())) }.boxed()
    }

    /// What was applied is answered by then; what is left was not.
    fn land(&self, ids: &[ProposalId], outcome: Result<(), RaftError<Types, ClientWriteError<Types>>>) {
        let Err(error) = outcome else { return };
        let why = match error {
            RaftError::Fatal(fatal) => {
                let why = StoreError::Unavailable(format!("the replica has stopped: {fatal}"));
                self.replica.stop(why.clone());
                self.replica.stopped().unwrap_or(why)
            }
            RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => {
                StoreError::Unavailable("this server does not lead".into())
            }
            // Whether another leader will commit it is unknown.
            RaftError::APIError(_) => StoreError::Timeout,
        };
        for id in ids {
            self.waiting.answer(*id, Err(why.clone()));
        }
    }
}

/// What is queued, up to the size of a batch.
fn gather(first: Request, queue: &mut mpsc::Receiver<Request>) -> Vec<Request> {
    let mut bytes = size::of(&first.proposal.txn);
    let mut requests = vec![first];
    while requests.len() < BATCH_TXNS && bytes < BATCH_BYTES {
        let Ok(next) = queue.try_recv() else { break };
        bytes += size::of(&next.proposal.txn);
        requests.push(next);
    }
    requests
}
