//! Opening the log: everything in it is read and checked once, before anybody relies on it.

use super::disk::Disk;
use super::mark::{Mark, MarkFile};
use super::record::{self, Assembly};
use super::writer::{Acknowledge, Writer};
use super::{Log, Shared, State};
use crate::limits::LOG_QUEUE;
use crate::raft::{Entry, LogId, Vote};
use crate::wire::invalid;
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tokio::sync::mpsc;

/// A log that was found whole, and is not written yet.
pub struct LogFiles {
    disk: Disk,
    mark_file: MarkFile,
    mark: Mark,
    state: State,
    garbage_upto: u64,
}

/// What the log says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    pub purged: Option<LogId>,
    pub last: Option<LogId>,
}

impl LogFiles {
    /// [`io::ErrorKind::InvalidData`] means that the data is damaged or from another version. The end of a record that
    /// was never acknowledged is no damage; it is removed.
    pub fn open(dir: &Path, mark: &Path) -> io::Result<LogFiles> {
        let disk = Disk::open(dir)?;
        let (mark_file, mark) = MarkFile::open(mark)?;
        let vote = disk.get(record::VOTE)?.map(|bytes| record::decode_vote(&bytes)).transpose()?;
        let purged = disk.get(record::PURGED)?.map(|bytes| record::decode_log_id(&bytes)).transpose()?;
        let empty = State { vote, purged, first: 0, last: purged, tail: VecDeque::new(), tail_bytes: 0 };
        let state = scan(&disk, empty, mark)?;
        let next = state.last.map_or(0, |last| last.index + 1);
        if next < mark.next {
            let missing = mark.next - 1;
            return Err(invalid(format!("the log ends before entry {next}, but entry {missing} was acknowledged")));
        }
        let term = state.vote.as_ref().map_or(0, |vote: &Vote| vote.leader_id.term);
        if term < mark.term {
            return Err(invalid(format!("the last vote is of term {term}, but there was one of term {}", mark.term)));
        }
        let garbage_upto = purged.map_or(0, |id| id.index + 1);
        let mark = Mark { next, term };
        Ok(LogFiles { disk, mark_file, mark, state, garbage_upto })
    }

    pub fn loaded(&self) -> Loaded {
        Loaded { purged: self.state.purged, last: self.state.last }
    }

    /// Starts the log's thread, which ends when the last handle is gone, and keeps `hold` until then.
    pub fn start(
        self,
        acknowledge: Acknowledge,
        failed: impl Fn(&io::Error) + Send + 'static,
        hold: impl Send + 'static,
    ) -> io::Result<(Log, JoinHandle<()>)> {
        let disk = Arc::new(self.disk);
        let written = Arc::new(AtomicU64::new(self.mark.next));
        let writer = Writer {
            disk: disk.clone(),
            mark_file: self.mark_file,
            mark: self.mark,
            garbage: 0..self.garbage_upto,
            written: written.clone(),
            acknowledge,
            failed: Box::new(failed),
        };
        let (jobs, queue) = mpsc::channel(LOG_QUEUE);
        let thread = std::thread::Builder::new().name("store-log".into()).spawn(move || {
            writer.run(queue);
            drop(hold);
        })?;
        let shared = Arc::new(Shared { state: Mutex::new(self.state), disk, written });
        Ok((Log { shared, jobs }, thread))
    }
}

/// Reads every entry after the purged ones. They must follow each other; only the last may be incomplete, and only if
/// it was never acknowledged.
fn scan(disk: &Disk, mut state: State, mark: Mark) -> io::Result<State> {
    let first = state.purged.map_or(0, |id| id.index + 1);
    let mut assembly = Assembly::default();
    let mut next = first;
    for item in disk.range(&record::key(first, 0), &record::key(u64::MAX, u32::MAX)) {
        let (key, piece) = item?;
        let Some((index, bytes)) = assembly.add(&key, &piece)? else { continue };
        if index != next {
            return Err(invalid(format!("log entry {next} is missing")));
        }
        let entry = record::decode(index, &bytes)?;
        record::check(&entry)?;
        check_order(&state, &entry)?;
        state.push(entry, bytes.len());
        state.trim(u64::MAX);
        next += 1;
    }
    if let Some(index) = assembly.incomplete() {
        if index != next || index < mark.next {
            return Err(invalid(format!("log entry {index} lacks its last pieces")));
        }
        remove(disk, index)?;
    }
    Ok(state)
}

fn check_order(state: &State, entry: &Entry) -> io::Result<()> {
    let after = state.last.is_none_or(|last| entry.log_id > last);
    if after { Ok(()) } else { Err(invalid(format!("the term of log entry {} is too low", entry.log_id.index))) }
}

/// Takes away the pieces of an entry whose writing was cut off.
fn remove(disk: &Disk, index: u64) -> io::Result<()> {
    let keys: io::Result<Vec<_>> =
        disk.range(&record::key(index, 0), &record::key(u64::MAX, u32::MAX)).map(|item| Ok(item?.0)).collect();
    for key in keys?.iter().rev() {
        disk.remove(key)?;
    }
    disk.sync()
}

#[cfg(test)]
mod tests;
