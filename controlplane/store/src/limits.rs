//! Every bound of this room, by name. What is not bounded here is bounded by one of these.

use std::time::Duration;

/// The largest transaction: keys and values together. etcd's default request is 1.5 MiB; an API body may be 3 MiB.
pub const TXN_BYTES: usize = 4 * 1024 * 1024;
/// The most operations in one transaction.
pub const TXN_OPS: usize = 1024;

/// How many acknowledged proposals are remembered, so that a retry applies once.
pub const PROPOSALS: usize = 4096;

/// What a change costs in the history besides its key and its old value.
pub const CHANGE_OVERHEAD: usize = 256;
/// How many earlier revisions stay pinned for readers that page through one.
pub const PINNED_VIEWS: usize = 16;

/// How many changes a watcher takes from the history at a time; what it does not take waits there.
pub const WATCH_BATCH: usize = 128;
/// How often a quiet watch learns how far the store has come.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// How long [`crate::Store::wait_for`] waits; the API server of Kubernetes gives a list three seconds.
pub const WAIT_FOR_REVISION: Duration = Duration::from_secs(3);

/// How much of the past is kept for watches and paging, whichever bound is met first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Counts keys, the values that were replaced or deleted, and [`CHANGE_OVERHEAD`] for each change.
    pub bytes: usize,
    pub age: Duration,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        HistoryLimits { bytes: 16 * 1024 * 1024, age: Duration::from_secs(600) }
    }
}

/// How many transactions wait for the proposer before callers have to wait themselves.
pub const PROPOSE_QUEUE: usize = 1024;
/// How much all transactions on their way may hold together; who comes later waits.
pub const IN_FLIGHT_BYTES: usize = 64 * 1024 * 1024;
/// The most transactions in one Raft entry.
pub const BATCH_TXNS: usize = 256;
/// A batch that has reached this size takes no further transaction.
pub const BATCH_BYTES: usize = 1024 * 1024;
/// How many Raft entries are on their way at once: while one is being synced, the next is put together.
pub const BATCHES_IN_FLIGHT: usize = 2;
/// How long a caller waits for its transaction.
pub const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a linearizable read waits for the leadership to be confirmed.
pub const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a server that is its own majority may take to lead after it opened its data.
pub const LEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// sled's own cache. The state is in memory anyway; sled only has to find pages to rewrite.
pub const SLED_CACHE: u64 = 8 * 1024 * 1024;
/// How long to wait for sled's threads of an earlier store in the same process to let go of its file.
pub const SLED_LOCK_WAIT: Duration = Duration::from_secs(2);
/// A record is cut into pieces of this size. sled holds up to 21 in a page, and rewrites the page every tenth time.
pub const PIECE_BYTES: usize = 5 * 1024;
/// sled writes its file in segments of this size, and pages of more than a quarter of it into files of their own, which
/// it never syncs. Fixed for the life of a data directory.
pub const SLED_SEGMENT: usize = 4 * 1024 * 1024;
/// How many records are written or removed between two syncs. Each can cost sled its own page, a split or merge of
/// that, and one page that it moves out of an old segment: at most 170 KB, so that these stay within a segment.
pub const WRITES_PER_SYNC: u32 = 24;
/// How many jobs wait for the log's thread.
pub const LOG_QUEUE: usize = 256;
/// How many superseded records the log's thread removes at a time, between appends.
pub const PURGE_SLICE: u64 = 16;
/// The newest log entries stay in memory up to this size, for whoever reads them next.
pub const TAIL_BYTES: usize = 1024 * 1024;
/// How many log entries are read from disk at a time.
pub const READ_ENTRIES: u64 = 64;

/// A snapshot is due when the log has grown by this much and by the size of the last snapshot.
pub const SNAPSHOT_LOG_BYTES: u64 = 8 * 1024 * 1024;
/// A snapshot is due when the log has grown by this many entries, whatever their size.
pub const SNAPSHOT_LOG_ENTRIES: u64 = 50_000;
/// The longest key a snapshot or a command may hold. etcd's API server allows far less.
pub const KEY_BYTES: usize = 64 * 1024;
/// Stamping makes a value a little longer than what was proposed.
pub const VALUE_BYTES: usize = TXN_BYTES + 64 * 1024;
