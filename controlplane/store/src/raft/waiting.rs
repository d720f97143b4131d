//! Callers who wait for their transaction to be applied here. `apply` answers them directly, by proposal id, so the
//! answer does not depend on which server proposed the entry or on how many transactions share it.

use crate::state::ProposalId;
use crate::{Committed, StoreError};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

pub type Outcome = Result<Committed, StoreError>;

/// Bounded by the proposer, which registers only what is in its few batches in flight.
#[derive(Default)]
pub struct Waiting {
    callers: Mutex<HashMap<ProposalId, oneshot::Sender<Outcome>>>,
}

impl Waiting {
    pub fn register(&self, id: ProposalId, caller: oneshot::Sender<Outcome>) {
        self.lock().insert(id, caller);
    }

    pub fn answer(&self, id: ProposalId, outcome: Outcome) {
        let caller = self.lock().remove(&id);
        if let Some(caller) = caller {
            // A caller that has gone does not want to know.
            let _ = caller.send(outcome);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ProposalId, oneshot::Sender<Outcome>>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
