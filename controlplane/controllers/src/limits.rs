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
/// Addresses of one subset of Endpoints that are mirrored (`--mirroring-max-endpoints-per-subset`).
pub const MIRRORED_PER_SUBSET: usize = 1_000;
/// Addresses in one Endpoints object; more are left out and the object says so.
pub const ENDPOINTS_CAPACITY: usize = 1_000;
/// How often a node that is not heard of, and its pods, are looked at (`--node-monitor-period`).
pub const NODE_PERIOD: Duration = Duration::from_secs(5);
/// One node is emptied per interval (`--node-eviction-rate` of 0.1 per second).
pub const EVICTION_INTERVAL: Duration = Duration::from_secs(10);
/// The same while many nodes of a large cluster are gone (`--secondary-node-eviction-rate`).
pub const SLOW_EVICTION_INTERVAL: Duration = Duration::from_secs(100);
/// What is a large cluster (`--large-cluster-size-threshold`).
pub const LARGE_CLUSTER: usize = 50;
/// How often ended and orphaned pods are looked for.
pub const POD_GC_PERIOD: Duration = Duration::from_secs(20);
/// How long a node must be missing before its pods are deleted.
pub const MISSING_NODE_QUARANTINE: Duration = Duration::from_secs(40);
