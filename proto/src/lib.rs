//! The contracts of Coracle: gRPC messages and the object model that all sides share. Nothing here does I/O.

pub mod api;
pub mod field;
pub mod meta;
pub mod name;
pub mod quantity;
pub mod resource;
pub mod schema;
pub mod selector;
pub mod status;
pub mod time;

/// The link between a node's agent and the control plane, generated from `proto/nodelink.proto`.
#[allow(clippy::all, clippy::unwrap_used, rust_2018_idioms)]
pub mod nodelink {
    tonic::include_proto!("coracle.nodelink.v1");
}

pub use api::{ListOptions, Object, ObjectList, WatchEvent};
pub use meta::{ObjectKey, Tree};
pub use resource::Resource;
pub use status::ApiError;
