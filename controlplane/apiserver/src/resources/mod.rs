//! One file per resource type, all behind [`ResourceType`]. `catalog.rs` lists them.

pub mod config_map;
pub mod deployment;
pub mod endpoint_slice;
pub mod endpoints;
pub mod event;
pub mod lease;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod replica_set;
pub mod secret;
pub mod service;
pub mod service_account;
mod table;
mod traits;
mod workload;

pub use table::{Column, age, column, name_cell, wide};
pub use traits::{Facts, ResourceType, SCALE, STATUS, Subresource, VERBS};
