//! The replicated, revisioned key-value store with watch. Knows no Kubernetes kind.

mod api;
pub mod limits;
mod memory;
mod replica;
mod size;
mod state;

pub use api::*;
pub use memory::MemoryStore;
