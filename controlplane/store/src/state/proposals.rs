//! Which proposals were applied lately, so that one that is sent again is not applied again.

use crate::Revision;
use crate::limits::PROPOSALS;
use std::collections::{HashMap, VecDeque};

/// Minted by the server that proposes: a number drawn at its start, and a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProposalId {
    pub origin: u64,
    pub number: u64,
}

/// The last [`PROPOSALS`] that succeeded. A failed one changed nothing, so trying it again is harmless.
#[derive(Clone, Default)]
pub struct Proposals {
    revisions: HashMap<ProposalId, Revision>,
    order: VecDeque<ProposalId>,
}

impl Proposals {
    pub fn find(&self, id: ProposalId) -> Option<Revision> {
        self.revisions.get(&id).copied()
    }

    pub fn record(&mut self, id: ProposalId, revision: Revision) {
        if self.revisions.insert(id, revision).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > PROPOSALS
            && let Some(oldest) = self.order.pop_front()
        {
            self.revisions.remove(&oldest);
        }
    }

    /// Oldest first; recording them in this order gives an equal table.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (ProposalId, Revision)> + '_ {
        self.order.iter().map(|id| (*id, self.revisions[id]))
    }
}
