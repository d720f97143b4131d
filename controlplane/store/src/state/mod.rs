//! The state machine: an ordered map, a revision counter, a bounded history. Pure: no clock, no chance, no I/O.
//! Every replica that applies the same proposals in the same order holds the same map at the same revision.

mod history;
mod proposals;
mod view;

pub use history::{Millis, Record};
pub use proposals::{ProposalId, Proposals};
pub use view::MapView;

use crate::limits::HistoryLimits;
use crate::{Action, Change, Committed, Entry, Expect, Op, Revision, Stamp, StoreError, Term, Txn};
use bytes::Bytes;
use history::History;
use imbl::OrdMap;
use std::sync::Arc;

/// The revision of an empty store. Not 0, which means "any" in Kubernetes; etcd starts at 1 as well.
pub const EMPTY: Revision = Revision(1);

pub type Map = OrdMap<Arc<str>, Entry>;

/// A transaction on its way, with everything that must be the same wherever it is applied.
#[derive(Clone, Debug)]
pub struct Proposal {
    pub id: ProposalId,
    pub txn: Txn,
}

/// What a snapshot keeps: everything but the history, which every replica keeps for itself.
#[derive(Clone)]
pub struct Image {
    pub revision: Revision,
    pub map: Map,
    pub proposals: Proposals,
}

pub struct State {
    revision: Revision,
    map: Map,
    proposals: Proposals,
    history: History,
    stamp: Stamp,
}

impl State {
    pub fn new(stamp: Stamp, limits: HistoryLimits) -> State {
        let empty = Image { revision: EMPTY, map: Map::new(), proposals: Proposals::default() };
        State::from_image(empty, stamp, limits)
    }

    /// The state a snapshot describes. Its history is empty, so that earlier revisions are [`StoreError::Compacted`].
    pub fn from_image(image: Image, stamp: Stamp, limits: HistoryLimits) -> State {
        let Image { revision, map, proposals } = image;
        State { revision, map, proposals, history: History::new(revision, limits), stamp }
    }

    /// O(1) in the map, and a copy of the bounded table of proposals.
    pub fn image(&self) -> Image {
        Image { revision: self.revision, map: self.map.clone(), proposals: self.proposals.clone() }
    }

    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The revision after which every change is kept.
    pub fn oldest(&self) -> Revision {
        self.history.floor()
    }

    pub fn view(&self) -> MapView {
        MapView::new(self.revision, self.map.clone())
    }

    /// The changes after `after`, oldest first.
    pub fn changes_after(&self, after: Revision) -> Result<impl DoubleEndedIterator<Item = &Record>, StoreError> {
        self.require(after)?;
        Ok(self.history.after(after))
    }

    fn require(&self, requested: Revision) -> Result<(), StoreError> {
        if requested > self.revision {
            return Err(StoreError::Future { requested, newest: self.revision });
        }
        if requested < self.oldest() {
            return Err(StoreError::Compacted { requested, oldest: self.oldest() });
        }
        Ok(())
    }

    /// Applies one transaction, whole or not at all, under the term that orders it. `now` is the proposer's clock.
    pub fn apply(&mut self, proposal: &Proposal, ruling: Term, now: Millis) -> Result<Committed, StoreError> {
        if let Some(revision) = self.proposals.find(proposal.id) {
            return Ok(self.recall(&proposal.txn, revision));
        }
        let txn = &proposal.txn;
        if txn.term.is_some_and(|expected| expected != ruling) {
            return Err(StoreError::Deposed);
        }
        self.check(txn)?;
        let committed = self.write(txn, now);
        self.proposals.record(proposal.id, committed.revision);
        Ok(committed)
    }

    /// Whether every precondition holds, all of them against the state before the transaction.
    fn check(&self, txn: &Txn) -> Result<(), StoreError> {
        for (index, op) in txn.ops.iter().enumerate() {
            let present = self.map.get(&*op.key);
            let holds = match op.expect {
                Expect::Anything => true,
                Expect::Absent => present.is_none(),
                Expect::At(revision) => present.is_some_and(|entry| entry.modified == revision),
            };
            if !holds {
                return Err(StoreError::Conflict { key: op.key.clone(), actual: present.cloned() });
            }
            if writes(op) && txn.ops[..index].iter().any(|other| writes(other) && other.key == op.key) {
                return Err(StoreError::WrittenTwice { key: op.key.clone() });
            }
        }
        Ok(())
    }

    /// Carries out what [`State::check`] let through. A transaction that changes nothing takes no revision.
    fn write(&mut self, txn: &Txn, now: Millis) -> Committed {
        let next = Revision(self.revision.0 + 1);
        // Nothing is changed before everything is worked out: a stamp that panics must not leave half a transaction.
        let (changes, entries) = self.plan(txn, next);
        if changes.is_empty() {
            return Committed { revision: self.revision, entries };
        }
        for change in &changes {
            match &change.after {
                Some(after) => self.map.insert(after.key.clone(), after.clone()),
                None => self.map.remove(&*change.key),
            };
        }
        self.revision = next;
        self.history.push(Record::new(next, now, changes));
        Committed { revision: next, entries }
    }

    /// What the transaction changes at revision `next`, and what is answered for each of its operations.
    fn plan(&self, txn: &Txn, next: Revision) -> (Vec<Change>, Vec<Option<Entry>>) {
        let mut changes = Vec::new();
        let mut entries = Vec::with_capacity(txn.ops.len());
        for op in &txn.ops {
            let before = self.map.get(&*op.key).cloned();
            let after = match &op.action {
                Action::Put(value) => Some(self.entry(op, value, before.as_ref(), next)),
                Action::Delete if before.is_some() => None,
                Action::Delete | Action::Check => {
                    entries.push(before);
                    continue;
                }
            };
            entries.push(after.clone().or_else(|| before.clone()));
            // The key of the entry before, so that a key's text is kept once however often it is written.
            let key = before.as_ref().map_or_else(|| op.key.clone(), |entry| entry.key.clone());
            changes.push(Change { revision: next, key, before, after });
        }
        (changes, entries)
    }

    fn entry(&self, op: &Op, value: &Bytes, before: Option<&Entry>, next: Revision) -> Entry {
        Entry {
            key: before.map_or_else(|| op.key.clone(), |entry| entry.key.clone()),
            value: (self.stamp)(value, next),
            created: before.map_or(next, |entry| entry.created),
            modified: next,
        }
    }

    /// The answer to a proposal that was applied before. What the history has forgotten is told as it can be known now.
    fn recall(&self, txn: &Txn, revision: Revision) -> Committed {
        let record = self.history.at(revision);
        let entries = txn.ops.iter().map(|op| {
            let change = record.and_then(|record| record.changes.iter().find(|change| change.key == op.key));
            match (&op.action, change) {
                (Action::Put(_), Some(change)) => change.after.clone(),
                (_, Some(change)) => change.before.clone(),
                (_, None) => self.map.get(&*op.key).filter(|entry| entry.modified <= revision).cloned(),
            }
        });
        Committed { revision, entries: entries.collect() }
    }

    /// The map as it was at `revision`: the present one with the later changes undone.
    pub fn view_at(&self, revision: Revision) -> Result<Rewind, StoreError> {
        let undo = self.changes_after(revision)?.rev().map(|record| record.changes.clone()).collect();
        Ok(Rewind { revision, map: self.map.clone(), undo })
    }
}

fn writes(op: &Op) -> bool {
    !matches!(op.action, Action::Check)
}

/// A view of the past that is still to be worked out, so that nobody waits for it under a lock.
pub struct Rewind {
    revision: Revision,
    map: Map,
    undo: Vec<Arc<[Change]>>,
}

impl Rewind {
    pub fn finish(mut self) -> MapView {
        for change in self.undo.iter().flat_map(|changes| changes.iter()) {
            match &change.before {
                Some(before) => self.map.insert(change.key.clone(), before.clone()),
                None => self.map.remove(&*change.key),
            };
        }
        MapView::new(self.revision, self.map)
    }
}

#[cfg(test)]
mod tests;
