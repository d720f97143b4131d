//! The Node object: what the host is, that it is well, and that somebody is there (the lease).

mod host;
mod keeper;
mod object;

pub use host::HostFacts;
pub use keeper::{Keeper, NodeSpec};
