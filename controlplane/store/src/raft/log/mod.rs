//! The Raft log as openraft wants it: the newest entries in memory, all of them in sled, one thread that writes.

mod disk;
mod load;
mod mark;
mod record;
mod writer;

pub use load::{Loaded, LogFiles};
pub use writer::Acknowledge;

use super::{Entry, LogId, Types, Vote};
use crate::limits::{READ_ENTRIES, TAIL_BYTES};
use crate::wire::invalid;
use disk::Disk;
use futures::{Stream, StreamExt, TryStreamExt};
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};
use writer::Job;

/// A handle; all handles share one log.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
}

struct Shared {
    state: Mutex<State>,
    disk: Arc<Disk>,
    written: Arc<AtomicU64>,
}

struct State {
    vote: Option<Vote>,
    purged: Option<LogId>,
    /// The index of the first entry that is kept; meaningless while there is none.
    first: u64,
    last: Option<LogId>,
    /// The newest entries, without a gap up to `last`.
    tail: VecDeque<Tailed>,
    tail_bytes: usize,
}

struct Tailed {
    entry: Entry,
    bytes: usize,
}

impl State {
    fn push(&mut self, entry: Entry, bytes: usize) {
        if self.last == self.purged {
            self.first = entry.log_id.index;
        }
        self.last = Some(entry.log_id);
        self.tail_bytes += bytes;
        self.tail.push_back(Tailed { entry, bytes });
    }

    /// Forgets the oldest entries that are on disk until the tail is small enough.
    fn trim(&mut self, written: u64) {
        while let Some(first) = self.tail.front() {
            if self.tail_bytes <= TAIL_BYTES || first.entry.log_id.index >= written {
                return;
            }
            self.tail_bytes -= first.bytes;
            self.tail.pop_front();
        }
    }

    fn drop_tail(&mut self, keep: impl Fn(u64) -> bool) {
        self.tail.retain(|tailed| keep(tailed.entry.log_id.index));
        self.tail_bytes = self.tail.iter().map(|tailed| tailed.bytes).sum();
    }

    fn tail_start(&self) -> u64 {
        self.tail.front().map_or(u64::MAX, |tailed| tailed.entry.log_id.index)
    }

    /// What the log holds of a range of indices.
    fn clamp(&self, range: &impl RangeBounds<u64>) -> (u64, u64) {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let next = |id: &Option<LogId>| id.as_ref().map_or(0, |id| id.index + 1);
        (start.max(self.first).max(next(&self.purged)), end.min(next(&self.last)))
    }
}

impl Log {
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands the writer a job and waits for it.
    async fn execute(&self, job: impl FnOnce(writer::Done) -> Job) -> io::Result<()> {
        let (done, outcome) = oneshot::channel();
        self.jobs.send(job(done)).await.map_err(|_| closed())?;
        outcome.await.map_err(|_| closed())?
    }

    async fn read(&self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let (from_tail, disk_end) = {
            let state = self.state();
            let from_tail = state.tail.iter().map(|tailed| &tailed.entry);
            let wanted = from_tail.filter(|entry| (start..end).contains(&entry.log_id.index));
            (wanted.cloned().collect::<Vec<_>>(), end.min(state.tail_start()))
        };
        if start >= disk_end {
            return Ok(from_tail);
        }
        let disk = self.shared.disk.clone();
        let read = tokio::task::spawn_blocking(move || read_disk(&disk, start, disk_end));
        let mut entries = read.await.map_err(|error| invalid(format!("reading the log failed: {error}")))??;
        entries.extend(from_tail);
        Ok(entries)
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the log is closed")
}

fn read_disk(disk: &Disk, start: u64, end: u64) -> io::Result<Vec<Entry>> {
    let mut assembly = record::Assembly::default();
    let mut entries = Vec::new();
    for item in disk.range(&record::key(start, 0), &record::key(end, 0)) {
        let (key, piece) = item?;
        if let Some((index, bytes)) = assembly.add(&key, &piece)? {
            if index != start + entries.len() as u64 {
                return Err(invalid(format!("log entry {} is missing", start + entries.len() as u64)));
            }
            entries.push(record::decode(index, &bytes)?);
        }
    }
    if entries.len() as u64 != end - start {
        return Err(invalid(format!("log entry {} is missing", start + entries.len() as u64)));
    }
    Ok(entries)
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let (start, end) = self.state().clamp(&range);
        self.read(start, end).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.try_get_log_entries(start..end.min(start.saturating_add(READ_ENTRIES))).await
    }

    /// A few at a time: after a restart the range is the whole log.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = self.state().clamp(&range);
        let log = self.clone();
        let chunks = futures::stream::try_unfold(start, move |start| {
            let log = log.clone();
            async move {
                if start >= end {
                    return Ok::<_, io::Error>(None);
                }
                let next = end.min(start + READ_ENTRIES);
                let entries = log.read(start, next).await?;
                Ok(Some((futures::stream::iter(entries.into_iter().map(Ok)), next)))
            }
        });
        chunks.try_flatten().boxed()
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.state().vote)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Log;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let state = self.state();
        let last = if state.last > state.purged { state.last } else { state.purged };
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> Log {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let encoded = record::encode_vote(vote)?;
        let term = vote.leader_id.term;
        self.execute(|done| Job::Vote { encoded, term, done }).await?;
        self.state().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, done: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let encoded = entries.iter().map(record::encode).collect::<io::Result<Vec<_>>>()?;
        let Some(first) = entries.first().map(|entry| entry.log_id.index) else {
            done.io_completed(Ok(()));
            return Ok(());
        };
        {
            let mut state = self.state();
            for (entry, bytes) in entries.into_iter().zip(encoded.iter().map(Vec::len)) {
                state.push(entry, bytes);
            }
            state.trim(self.shared.written.load(Ordering::Acquire));
        }
        self.jobs.send(Job::Append { first, entries: encoded, done }).await.map_err(|_| closed())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.as_ref().map_or(0, |id| id.index + 1);
        self.execute(|done| Job::Truncate { from, done }).await?;
        let mut state = self.state();
        state.drop_tail(|index| index < from);
        state.last = state.last.min(last).max(state.purged);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.execute(|done| Job::Purge { upto, done }).await?;
        let mut state = self.state();
        state.drop_tail(|index| index > upto.index);
        state.purged = Some(upto);
        state.last = state.last.max(Some(upto));
        Ok(())
    }
}
