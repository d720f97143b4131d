//! The scheduler: which node each pod runs on, and why.
//!
//! [`cycle`] decides (pure: filters, scores, reasons); [`queue`] says who is next; [`world`] is what it decides on;
//! [`Scheduler`] is the loop around them.

pub mod cycle;
pub mod explanation;
#[cfg(test)]
mod fixtures;
pub mod images;
mod inbox;
pub mod limits;
pub mod node;
pub mod plugins;
pub mod queue;
mod reports;
mod scheduler;
pub mod snapshot;
pub mod world;

pub use scheduler::{NAME, Scheduler};
