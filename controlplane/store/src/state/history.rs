//! The recent past: which changes each revision made. Bounded by bytes and by age.

use crate::limits::{CHANGE_OVERHEAD, HistoryLimits};
use crate::{Change, Revision};
use std::collections::VecDeque;
use std::sync::Arc;

/// Milliseconds of the Unix epoch by the proposer's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u64);

impl Millis {
    /// For proposers; never for `apply`.
    pub fn now() -> Millis {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// What one revision changed. Never empty.
#[derive(Debug)]
pub struct Record {
    pub revision: Revision,
    pub changes: Arc<[Change]>,
    at: Millis,
    bytes: usize,
}

impl Record {
    pub fn new(revision: Revision, at: Millis, changes: Vec<Change>) -> Record {
        let bytes = changes.iter().map(cost).sum();
        Record { revision, changes: changes.into(), at, bytes }
    }
}

/// The value after is shared with the map or with the next change's value before, so only the latter counts.
fn cost(change: &Change) -> usize {
    change.key.len() + change.before.as_ref().map_or(0, |entry| entry.value.len()) + CHANGE_OVERHEAD
}

pub struct History {
    /// One for each revision after `floor`, without a gap.
    records: VecDeque<Record>,
    bytes: usize,
    floor: Revision,
    limits: HistoryLimits,
}

impl History {
    pub fn new(floor: Revision, limits: HistoryLimits) -> History {
        History { records: VecDeque::new(), bytes: 0, floor, limits }
    }

    /// The revision after which every change is kept.
    pub fn floor(&self) -> Revision {
        self.floor
    }

    pub fn push(&mut self, record: Record) {
        let now = record.at;
        assert_eq!(record.revision.0, self.floor.0 + self.records.len() as u64 + 1, "revisions leave no gap");
        self.bytes += record.bytes;
        self.records.push_back(record);
        self.trim(now);
    }

    /// The newest record stays, however large it is: its watchers have not had a chance to see it.
    fn trim(&mut self, now: Millis) {
        let age = u64::try_from(self.limits.age.as_millis()).unwrap_or(u64::MAX);
        while self.records.len() > 1
            && let Some(first) = self.records.front()
        {
            let expired = now.0.saturating_sub(first.at.0) > age;
            if !expired && self.bytes <= self.limits.bytes {
                return;
            }
            self.bytes -= first.bytes;
            self.floor = first.revision;
            self.records.pop_front();
        }
    }

    /// The records after a revision that is not below the floor, oldest first.
    pub fn after(&self, after: Revision) -> impl DoubleEndedIterator<Item = &Record> {
        self.records.range(self.index(after)..)
    }

    pub fn at(&self, revision: Revision) -> Option<&Record> {
        let before = revision.0.checked_sub(1).filter(|before| *before >= self.floor.0)?;
        self.records.get(self.index(Revision(before)))
    }

    fn index(&self, after: Revision) -> usize {
        let distance = usize::try_from(after.0.saturating_sub(self.floor.0)).unwrap_or(usize::MAX);
        distance.min(self.records.len())
    }
}
