//! The replicated, revisioned key-value store with watch. Knows no Kubernetes kind.

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
