//! The replicated, revisioned key-value store with watch. Knows no Kubernetes kind.

mod api;

pub use api::*;
