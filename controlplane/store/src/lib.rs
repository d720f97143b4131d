//! The replicated, revisioned key-value store with watch. Knows no Kubernetes kind.
//!
//! # The life of a write
//!
//! 1. [`Store::commit`] checks the size of a transaction (`size.rs`), gives it a proposal id and queues it.
//! 2. The proposer (`raft/proposer.rs`) puts everything that queued up while the previous sync was under way into one
//!    command (`raft/command.rs`) and hands it to openraft. Nobody waits for company: an empty queue means a batch of
//!    one.
//! 3. openraft appends the command to the log (`raft/log`). The entry is readable at once from memory; a thread of its
//!    own (`writer.rs`) cuts it into checksummed records, gives them to sled (`disk.rs`), syncs once for all that is
//!    queued, and only then says so.
//! 4. With the entry durable on a majority (today: here) openraft has the machine (`raft/machine.rs`) apply it. Each
//!    transaction of the command is evaluated for itself by the state machine (`state`), which is pure: preconditions,
//!    its own revision, the value stamped with it, a change in the history. If the same proposal comes again, it gets
//!    its first answer.
//! 5. The replica (`replica`) wakes the watchers whose prefix is concerned; they read the history at their own pace.
//! 6. The caller is answered by proposal id (`raft/waiting.rs`), after the change is both durable and visible.
//!
//! # Reading
//!
//! [`Store::view`] is the whole map at one revision, in O(1), for the map is persistent: a writer makes a new one that
//! shares all but the path to what changed. [`Store::read_barrier`] before it makes the read linearizable.
//! [`Store::view_at`] undoes the history from the present.
//!
//! # What is on disk
//!
//! `log/` belongs to sled: the Raft log and the vote. `snapshots/` holds the newest snapshot, whole or not at all; when
//! it is in place, the log before it is removed. `mark` says how far the log was durable, for sled takes a damaged record
//! for the end of its log. `format` and `lock` are what they say. Opening reads and checks all of it; what does not fit
//! is refused ([`OpenError::Damaged`]) and nothing is deleted. When a write fails, the store stops serving.
//!
//! Bounds are in [`limits`]. The suite for every store is in `tests/suite`, kills and power cuts are in
//! `tests/durability`, the benchmark is `examples/bench.rs`.

mod api;
pub mod limits;
mod memory;
mod raft;
mod replica;
mod size;
mod state;
mod wire;

pub use api::*;
pub use memory::MemoryStore;
pub use raft::{Acknowledge, NodeId, OpenError, RaftConfig, RaftStore};
