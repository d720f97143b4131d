//! The API server: resources, the registry every read and write passes, admission, authorisation, and HTTP.

mod admission;
pub mod auth;
pub mod bootstrap;
pub mod catalog;
mod codec;
mod config;
mod event_ttl;
pub mod http;
pub mod limits;
pub mod node_streams;
pub mod openapi;
pub mod registry;
pub mod resources;
mod spdy;
mod stamp;
mod streams;
mod suffix;
pub mod user;
mod validate;

pub use bootstrap::bootstrap;
pub use config::{NODE_PORTS, RegistryConfig};
pub use event_ttl::{expire_events, sweep_events};
pub use http::{GrpcService, Server, ServerOptions, tls_config};
pub use registry::Registry;
pub use user::UserInfo;

/// Gives the store's values their `resourceVersion`.
pub const STAMP: coracle_store::Stamp = stamp::stamp;
