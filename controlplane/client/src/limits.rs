//! Every bound of this package in one place.

use std::time::Duration;

/// Objects fetched per list page.
pub const LIST_PAGE: usize = 2_000;
/// Watch events applied to a cache under one lock.
pub const WATCH_BATCH: usize = 256;
/// Waits between failed lists or watches double from the first to the last of these.
pub const RELIST_BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(30));
/// Waits of a key that keeps failing double from the first to the last; upstream's 5 ms and 1000 s, the latter shortened.
pub const KEY_BACKOFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(300));
/// How long running reconciles may go on after a stop.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
/// Workers per controller unless it says otherwise (upstream's `--concurrent-*-syncs`).
pub const WORKERS: usize = 5;

/// Events waiting to be written; more are dropped (upstream's broadcaster queue).
pub const EVENT_QUEUE: usize = 1_000;
/// Objects and event series remembered for counting and rate limiting (upstream's LRU size).
pub const EVENT_MEMORY: usize = 4_096;
/// Events about one object that differ only in message are combined after so many …
pub const EVENT_SIMILAR: usize = 10;
/// … within this interval.
pub const EVENT_SIMILAR_INTERVAL: Duration = Duration::from_secs(600);
/// Events per object: a burst, then one per interval.
pub const EVENT_BURST: f64 = 25.0;
pub const EVENT_REFILL: Duration = Duration::from_secs(300);
/// Tries to write one event.
pub const EVENT_TRIES: u32 = 4;
/// Longest event message, in bytes (the API's limit is 1024).
pub const EVENT_MESSAGE: usize = 1_024;

/// Distinct interned values before the dead ones are swept out; doubles with the live ones.
pub const INTERN_SWEEP: usize = 1_024;
