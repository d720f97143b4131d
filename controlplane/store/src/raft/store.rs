//! The store behind a replica: writes go to the proposer, reads to the replica.

use super::Raft;
use super::machine::Machine;
use super::open::{self, OpenError, RaftConfig};
use super::proposer::{Proposer, Request};
use super::waiting::Waiting;
use crate::limits::{COMMIT_TIMEOUT, IN_FLIGHT_BYTES, READ_TIMEOUT};
use crate::replica::Replica;
use crate::state::{Proposal, ProposalId};
use crate::{Committed, Revision, Store, StoreError, Term, Txn, View, Watch, size};
use async_trait::async_trait;
use openraft::ReadPolicy;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::RaftError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

/// Dropping it ends it as well, but later: whoever opens the directory again should have closed it.
pub struct RaftStore {
    raft: Raft,
    machine: Machine,
    replica: Arc<Replica>,
    requests: mpsc::Sender<Request>,
    ids: Ids,
    /// In bytes.
    room: Semaphore,
    log_thread: Mutex<Option<JoinHandle<()>>>,
    snapshots: AbortOnDropHandle<()>,
}

/// Proposal ids of this run of the process.
struct Ids {
    origin: u64,
    next: AtomicU64,
}

impl Ids {
    fn mint(&self) -> ProposalId {
        ProposalId { origin: self.origin, number: self.next.fetch_add(1, Ordering::Relaxed) }
    }
}

impl RaftStore {
    /// Opens the data directory, or makes it, and returns when this server leads and has applied its log.
    pub async fn open(config: RaftConfig) -> Result<RaftStore, OpenError> {
        open::open(config).await
    }

    pub(super) fn start(
        raft: Raft,
        machine: Machine,
        replica: Arc<Replica>,
        waiting: Arc<Waiting>,
        log_thread: JoinHandle<()>,
    ) -> RaftStore {
        let requests = Proposer::start(raft.clone(), replica.clone(), waiting);
        let snapshots = AbortOnDropHandle::new(tokio::spawn(take_snapshots(raft.clone(), machine.clone())));
        let ids = Ids { origin: random(), next: AtomicU64::new(0) };
        let room = Semaphore::new(IN_FLIGHT_BYTES);
        let log_thread = Mutex::new(Some(log_thread));
        RaftStore { raft, machine, replica, requests, ids, room, log_thread, snapshots }
    }

    /// Ends everything in order. Whatever was acknowledged is durable without it; it only lets go of the directory.
    pub async fn close(self) {
        let RaftStore { raft, machine, replica, requests, log_thread, snapshots, .. } = self;
        replica.stop(StoreError::Unavailable("the store is closed".into()));
        drop((snapshots, requests));
        if let Err(error) = raft.shutdown().await {
            tracing::warn!(%error, "the replica did not shut down in order");
        }
        drop((raft, machine));
        let thread = log_thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It ends when openraft has dropped its handles of the log.
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::warn!("the log's thread did not end in order");
            }
        }
    }

    /// Takes a snapshot now, for tests and for tools; it happens by itself when the log has grown.
    pub async fn snapshot(&self) -> Result<(), StoreError> {
        self.raft.trigger().snapshot().await.map_err(|fatal| self.gone(&fatal.to_string()))
    }

    fn gone(&self, why: &str) -> StoreError {
        self.replica.stopped().unwrap_or_else(|| StoreError::Unavailable(format!("the replica has stopped: {why}")))
    }

    fn serving(&self) -> Result<(), StoreError> {
        self.replica.stopped().map_or(Ok(()), Err)
    }
}

async fn take_snapshots(raft: Raft, machine: Machine) {
    loop {
        machine.snapshot_due().await;
        if raft.trigger().snapshot().await.is_err() {
            return;
        }
    }
}

/// Differs from start to start; nothing depends on its being hard to guess.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

#[async_trait]
impl Store for RaftStore {
    async fn commit(&self, txn: Txn) -> Result<Committed, StoreError> {
        let bytes = size::check(&txn)?;
        self.serving()?;
        let (caller, outcome) = oneshot::channel();
        let request = Request { proposal: Proposal { id: self.ids.mint(), txn }, caller };
        let committed = async {
            let permits = u32::try_from(bytes).expect("a transaction is far smaller than 4 GiB");
            let _room = self.room.acquire_many(permits).await.expect("nobody closes the semaphore");
            self.requests.send(request).await.map_err(|_| self.gone("it takes no more writes"))?;
            outcome.await.unwrap_or_else(|_| Err(self.gone("the write was dropped")))
        };
        tokio::time::timeout(COMMIT_TIMEOUT, committed).await.unwrap_or(Err(StoreError::Timeout))
    }

    async fn read_barrier(&self) -> Result<(), StoreError> {
        self.serving()?;
        let barrier = self.raft.ensure_linearizable(ReadPolicy::ReadIndex);
        match tokio::time::timeout(READ_TIMEOUT, barrier).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::Fatal(fatal))) => Err(self.gone(&fatal.to_string())),
            Ok(Err(RaftError::APIError(error))) => Err(StoreError::Unavailable(error.to_string())),
            Err(_) => Err(StoreError::Timeout),
        }
    }

    async fn wait_for(&self, revision: Revision) -> Result<(), StoreError> {
        self.replica.wait_for(revision).await
    }

    fn view(&self) -> Arc<dyn View> {
        self.replica.view()
    }

    fn view_at(&self, revision: Revision) -> Result<Arc<dyn View>, StoreError> {
        self.replica.view_at(revision)
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
        self.replica.watch(prefix, after)
    }

    fn leading(&self) -> Option<Term> {
        self.serving().ok()?;
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let term = Term(metrics.vote.leader_id.term);
        (metrics.state.is_leader() && self.machine.applied_term() == Some(term)).then_some(term)
    }
}
