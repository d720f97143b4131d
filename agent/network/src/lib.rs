//! Pod network, services and DNS of one node.
//!
//! Start with [`Network`]; `rules` and `dns` hold the parts that are pure.

mod api;
mod network;

pub use api::*;
pub use network::{Network, teardown_leftovers, used_ranges};
