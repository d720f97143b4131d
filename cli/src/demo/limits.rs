//! Bounds of the demo application.

use std::time::Duration;

/// At most this many clients at once; more wait in the kernel.
pub const CONNECTIONS: usize = 10_000;
pub const BURNING_THREADS: usize = 16;
pub const BURN: Duration = Duration::from_secs(60);
pub const DELAY: Duration = Duration::from_secs(300);
/// After a signal, with nobody connected: how long nobody may come before it ends.
pub const QUIET_ALONE: Duration = Duration::from_millis(250);
/// After a signal, with idle clients connected: how long none of them may ask before it ends.
pub const QUIET_CONNECTED: Duration = Duration::from_secs(1);
/// After a signal it ends at the latest now, just before the usual grace period does.
pub const SHUTDOWN: Duration = Duration::from_secs(28);
