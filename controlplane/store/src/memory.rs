//! A store that forgets everything when it is dropped: the same state machine and watches, no log. For tests.

use crate::limits::HistoryLimits;
use crate::replica::Replica;
use crate::state::{Millis, Proposal, ProposalId};
use crate::{Committed, Revision, Stamp, Store, StoreError, Term, Txn, View, Watch, size};
use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Always leads, in this term.
const TERM: Term = Term(1);

pub struct MemoryStore {
    replica: Arc<Replica>,
    proposals: AtomicU64,
}

impl MemoryStore {
    pub fn new(stamp: Stamp) -> MemoryStore {
        MemoryStore::with_history(stamp, HistoryLimits::default())
    }

    pub fn with_history(stamp: Stamp, history: HistoryLimits) -> MemoryStore {
        MemoryStore { replica: Arc::new(Replica::new(stamp, history)), proposals: AtomicU64::new(0) }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, txn: Txn) -> Result<Committed, StoreError> {
        size::check(&txn)?;
        let number = self.proposals.fetch_add(1, Ordering::Relaxed);
        let proposal = Proposal { id: ProposalId { origin: 0, number }, txn };
        self.replica.apply(&proposal, TERM, Millis::now())
    }

    async fn read_barrier(&self) -> Result<(), StoreError> {
        Ok(())
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
        Some(TERM)
    }
}
