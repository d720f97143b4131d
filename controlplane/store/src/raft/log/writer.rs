//! The thread that writes the log. It takes whatever is queued, writes it, syncs once and tells everybody.
//! When a write or a sync fails nothing more is written: what is on disk then is not known until the next start.

use super::disk::Disk;
use super::mark::{Mark, MarkFile};
use super::record;
use crate::limits::PURGE_SLICE;
use crate::raft::{LogId, Types};
use openraft::storage::IOFlushed;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};

pub enum Job {
    /// Encoded entries; the first follows the last one of the log.
    Append { first: u64, entries: Vec<Vec<u8>>, done: IOFlushed<Types> },
    /// An encoded vote and its term.
    Vote { encoded: Vec<u8>, term: u64, done: Done },
    /// Removes the entries from `from` to the end.
    Truncate { from: u64, done: Done },
    /// Removes the entries up to this one; what `done` waits for is only that this is noted.
    Purge { upto: LogId, done: Done },
}

pub type Done = oneshot::Sender<io::Result<()>>;

/// When an append counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acknowledge {
    #[default]
    AfterSync,
    /// A planted bug, which the tests of durability must catch.
    #[doc(hidden)]
    BeforeSync,
}

pub struct Writer {
    pub disk: Arc<Disk>,
    pub mark_file: MarkFile,
    pub mark: Mark,
    /// Entries that are purged but not yet removed.
    pub garbage: Range<u64>,
    /// The index after the last entry that is on disk, for readers.
    pub written: Arc<AtomicU64>,
    pub acknowledge: Acknowledge,
    /// Told once, when writing fails.
    pub failed: Box<dyn Fn(&io::Error) + Send>,
}

impl Writer {
    pub fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(batch) = self.next(&mut jobs) {
            if let Err(error) = self.execute(batch) {
                refuse_all(&mut jobs, &error);
                return;
            }
        }
        // Only a courtesy to the next start: the mark may be old, and what it says is never wrong.
        let _ = self.mark_file.sync();
    }

    /// Everything that is queued, in order; `None` at the end. While nothing is queued garbage is removed.
    fn next(&mut self, jobs: &mut mpsc::Receiver<Job>) -> Option<Vec<Job>> {
        let first = match jobs.try_recv() {
            Ok(job) => job,
            Err(mpsc::error::TryRecvError::Disconnected) => return None,
            Err(mpsc::error::TryRecvError::Empty) if !self.garbage.is_empty() => return Some(Vec::new()),
            Err(mpsc::error::TryRecvError::Empty) => jobs.blocking_recv()?,
        };
        let mut batch = vec![first];
        while let Ok(job) = jobs.try_recv() {
            batch.push(job);
        }
        Some(batch)
    }

    fn execute(&mut self, batch: Vec<Job>) -> io::Result<()> {
        let mut waiters = Waiters::default();
        let outcome = self.execute_all(batch, &mut waiters);
        if let Err(error) = &outcome {
            // First, so that whoever is told finds the reason.
            (self.failed)(error);
        }
        waiters.finish(outcome.as_ref().map(|_| ()));
        outcome
    }

    fn execute_all(&mut self, batch: Vec<Job>, waiters: &mut Waiters) -> io::Result<()> {
        for job in batch {
            self.write(job, waiters)?;
        }
        if !self.garbage.is_empty() {
            self.collect_garbage()?;
        }
        if self.acknowledge == Acknowledge::BeforeSync {
            std::mem::take(waiters).finish(Ok(()));
        }
        self.sync()
    }

    fn write(&mut self, job: Job, waiters: &mut Waiters) -> io::Result<()> {
        match job {
            Job::Append { first, entries, done } => {
                waiters.0.push(Waiter::Flushed(done));
                for (encoded, index) in entries.iter().zip(first..) {
                    self.append(index, encoded)?;
                }
            }
            Job::Vote { encoded, term, done } => {
                waiters.0.push(Waiter::Done(done));
                self.disk.put(record::VOTE, &encoded)?;
                self.mark.term = term;
            }
            Job::Truncate { from, done } => {
                waiters.0.push(Waiter::Done(done));
                self.truncate(from)?;
            }
            Job::Purge { upto, done } => {
                waiters.0.push(Waiter::Done(done));
                self.disk.put(record::PURGED, &record::encode_log_id(&upto)?)?;
                // The mark that something is gone must be durable before it goes.
                self.sync()?;
                let start = if self.garbage.is_empty() { self.first()? } else { self.garbage.start };
                self.garbage = start..upto.index + 1;
                self.mark.next = self.mark.next.max(upto.index + 1);
            }
        }
        Ok(())
    }

    fn append(&mut self, index: u64, encoded: &[u8]) -> io::Result<()> {
        for (number, piece) in record::pieces(encoded) {
            self.disk.put(&record::key(index, number), &piece)?;
        }
        self.mark.next = index + 1;
        Ok(())
    }

    /// The mark must not claim what is about to go, and must say so durably first.
    fn truncate(&mut self, from: u64) -> io::Result<()> {
        self.disk.sync()?;
        self.mark.next = self.mark.next.min(from);
        self.mark_file.write(self.mark)?;
        self.mark_file.sync()?;
        self.written.store(self.mark.next, Ordering::Release);
        let keys: io::Result<Vec<_>> =
            self.disk.range(&record::key(from, 0), &record::key(u64::MAX, u32::MAX)).map(|item| Ok(item?.0)).collect();
        // From the end backwards, so that a cut in between leaves no hole.
        for key in keys?.iter().rev() {
            self.disk.remove(key)?;
        }
        Ok(())
    }

    fn first(&self) -> io::Result<u64> {
        let mut records = self.disk.range(&record::key(0, 0), &record::key(u64::MAX, u32::MAX));
        match records.next() {
            None => Ok(u64::MAX),
            Some(first) => Ok(record::parse_key(&first?.0)?.0),
        }
    }

    /// Removes a few entries; more wait, so that appends are not held up.
    fn collect_garbage(&mut self) -> io::Result<()> {
        let end = self.garbage.end.min(self.garbage.start.saturating_add(PURGE_SLICE));
        let slice = self.disk.range(&record::key(self.garbage.start, 0), &record::key(end, 0));
        for item in slice {
            self.disk.remove(&item?.0)?;
        }
        self.garbage.start = end;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.sync()?;
        self.mark_file.write(self.mark)?;
        self.written.store(self.mark.next, Ordering::Release);
        Ok(())
    }
}

/// Who waits for a batch.
#[derive(Default)]
struct Waiters(Vec<Waiter>);

enum Waiter {
    Flushed(IOFlushed<Types>),
    Done(Done),
}

impl Waiters {
    fn finish(self, outcome: Result<(), &io::Error>) {
        for waiter in self.0 {
            waiter.tell(outcome.map_err(again));
        }
    }
}

impl Waiter {
    fn tell(self, outcome: io::Result<()>) {
        match self {
            Waiter::Flushed(done) => done.io_completed(outcome),
            Waiter::Done(done) => {
                // Who does not wait any more does not need to know.
                let _ = done.send(outcome);
            }
        }
    }
}

fn again(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

/// Answers what was queued behind a failure, until nobody queues any more.
fn refuse_all(jobs: &mut mpsc::Receiver<Job>, error: &io::Error) {
    while let Some(job) = jobs.blocking_recv() {
        let waiter = match job {
            Job::Append { done, .. } => Waiter::Flushed(done),
            Job::Vote { done, .. } | Job::Truncate { done, .. } | Job::Purge { done, .. } => Waiter::Done(done),
        };
        waiter.tell(Err(again(error)));
    }
}
