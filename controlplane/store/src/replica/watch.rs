//! One watch: a cursor into the history, as a stream.

use super::Replica;
use super::hub::Slot;
use super::parking::{read, write};
use crate::limits::{PROGRESS_INTERVAL, WATCH_BATCH};
use crate::{Change, Notice, Revision, StoreError, Watch};
use futures::StreamExt;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::time::Instant;

struct Cursor {
    replica: Arc<Replica>,
    slot: Arc<Slot>,
    /// Taken from the history and not yet asked for.
    ready: VecDeque<Change>,
    /// Everything up to here was said.
    told: Revision,
    progress_at: Instant,
    over: bool,
}

pub fn open(replica: &Arc<Replica>, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
    let mut inner = write(&replica.inner);
    if let Some(stopped) = &inner.stopped {
        return Err(stopped.clone());
    }
    let missed = inner.state.changes_after(after)?.next().map(|record| record.revision);
    let slot = Arc::new(Slot::new(prefix, after, missed));
    inner.hub.add(slot.clone());
    drop(inner);
    let cursor = Cursor {
        replica: replica.clone(),
        slot,
        ready: VecDeque::new(),
        told: after,
        progress_at: Instant::now() + PROGRESS_INTERVAL,
        over: false,
    };
    let stream = futures::stream::unfold(cursor, |mut cursor| async move {
        let notice = cursor.next().await?;
        Some((notice, cursor))
    });
    Ok(stream.boxed())
}

impl Cursor {
    async fn next(&mut self) -> Option<Result<Notice, StoreError>> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                self.say(change.revision);
                return Some(Ok(Notice::Change(change)));
            }
            if self.over {
                return None;
            }
            match self.take() {
                Err(why) => {
                    self.over = true;
                    return Some(Err(why));
                }
                Ok(newest) if self.ready.is_empty() && self.slot.pending().is_none() => {
                    if newest > self.told && Instant::now() >= self.progress_at {
                        self.say(newest);
                        return Some(Ok(Notice::Progress(newest)));
                    }
                    self.rest().await;
                }
                Ok(_) => {}
            }
        }
    }

    fn say(&mut self, revision: Revision) {
        self.told = revision;
        self.progress_at = Instant::now() + PROGRESS_INTERVAL;
    }

    async fn rest(&mut self) {
        let now = Instant::now();
        if self.progress_at <= now {
            self.progress_at = now + PROGRESS_INTERVAL;
        }
        tokio::select! {
            () = self.slot.woken() => {}
            () = tokio::time::sleep_until(self.progress_at) => {}
        }
    }

    /// Takes the next few changes from the history and returns the newest revision it knows.
    fn take(&mut self) -> Result<Revision, StoreError> {
        let inner = read(&self.replica.inner);
        if let Some(why) = self.slot.ended() {
            return Err(why.clone());
        }
        let newest = inner.state.revision();
        let Some(pending) = self.slot.pending() else { return Ok(newest) };
        // The replica's revisions only grow, so a revision that was pending can be too old but not in the future.
        let records = inner.state.changes_after(Revision(pending.0 - 1)).map_err(|_| StoreError::Lagged)?;
        self.slot.set_pending(None);
        for record in records {
            if self.ready.len() >= WATCH_BATCH {
                self.slot.set_pending(Some(record.revision));
                break;
            }
            let mine = record.changes.iter().filter(|change| change.key.starts_with(&*self.slot.prefix));
            self.ready.extend(mine.cloned());
        }
        Ok(newest)
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        write(&self.replica.inner).hub.remove(&self.slot);
    }
}

#[cfg(test)]
mod tests;
