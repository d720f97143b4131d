//! Pods: one worker each. `plan` decides, `ops` do, `status` tells.

pub mod backoff;
mod container;
mod context;
pub mod downward;
pub mod env;
pub mod expand;
#[cfg(test)]
mod fixtures;
mod hooks;
mod images;
mod ops;
mod plan;
mod report;
pub mod resources;
mod sandbox;
mod security;
mod set;
mod start;
pub mod state;
mod status;
mod statuses;
mod stop;
mod worker;

pub use context::{Context, Paths};
pub use set::{PodSet, Pods};
pub use statuses::Statuses;
