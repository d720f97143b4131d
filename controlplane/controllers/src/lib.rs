//! The controllers: each moves one part of the world towards what its objects ask for.
//!
//! Every controller has a pure `plan` and a small loop that observes, plans and executes. [`table`] lists them all.

mod conditions;
mod context;
mod deployment;
mod endpoints;
mod garbage;
mod ledger;
pub mod limits;
mod meaning;
mod namespace;
mod nodes;
mod ownership;
mod replicaset;
mod root_ca;
mod service_account;
pub mod table;
#[cfg(test)]
mod testing;

pub use context::{Config, Context};
pub use table::{CONTROLLERS, Handle, start};
