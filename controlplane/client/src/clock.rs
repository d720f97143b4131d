//! The time of day as an input: the system's, or one that follows tokio's (pausable) clock in tests and simulations.

use jiff::Timestamp;
use tokio::time::Instant;

#[derive(Clone, Copy, Debug)]
pub enum Clock {
    System,
    /// `base` was the time at `since`; moves only with tokio's clock.
    Tokio {
        base: Timestamp,
        since: Instant,
    },
}

impl Clock {
    /// Starts at `base` and follows tokio's clock, which a test may pause and advance.
    pub fn starting_at(base: Timestamp) -> Self {
        Self::Tokio { base, since: Instant::now() }
    }

    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Tokio { base, since } => *base + since.elapsed(),
        }
    }
}

/// How long ago `then` was, zero if it lies ahead.
pub fn elapsed(then: Timestamp, now: Timestamp) -> std::time::Duration {
    std::time::Duration::try_from(now.duration_since(then)).unwrap_or_default()
}
