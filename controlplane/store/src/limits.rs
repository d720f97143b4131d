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
