//! Every bound of this package in one place.

use std::time::Duration;

/// Pods one reconcile of a ReplicaSet creates or deletes at most (upstream's `BurstReplicas`).
pub const REPLICA_BURST: usize = 500;
/// Size of the first batch of creations; it doubles with every batch that succeeds (`SlowStartInitialBatchSize`).
pub const SLOW_START: usize = 1;
/// How long to wait for one's own write to show up in a cache before acting on the cache anyway (upstream: 5 min).
pub const OWN_WRITE_TIMEOUT: Duration = Duration::from_secs(300);
/// Characters of the `revision-history` annotation.
pub const REVISION_HISTORY: usize = 2_000;
/// Endpoints in one EndpointSlice (`--max-endpoints-per-slice`).
pub const ENDPOINTS_PER_SLICE: usize = 100;
/// Addresses in one Endpoints object; more are left out and the object says so.
pub const ENDPOINTS_CAPACITY: usize = 1_000;
