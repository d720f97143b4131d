//! Bounds of the scheduler's queue and waits.

use std::time::Duration;

/// Bindings being written at once; more placements wait.
pub const BINDINGS: usize = 64;

/// Conditions of pods without a node being written at once; more wait.
pub const REPORTS: usize = 16;

/// After an attempt that found no node, a pod waits at least this long, doubling up to the second.
pub const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Pods that no node fits are tried again after so long even if nothing seems to have changed.
pub const UNSCHEDULABLE_WAIT: Duration = Duration::from_secs(300);

/// Cycles in a row before changes of the world are looked at again.
pub const CYCLES_PER_TURN: usize = 128;
