//! The HTTP side: listeners and TLS, who is asking, what for, in which form to answer.

mod authenticate;
mod body;
mod discovery;
mod dispatch;
mod error;
mod health;
mod negotiate;
mod openapi;
mod query;
mod read;
mod respond;
mod route;
mod server;
mod table;
mod tls;
mod version;
mod watching;
mod write;

pub(crate) use dispatch::Asked;
pub(crate) use query::Query;
pub(crate) use respond::full;
pub use respond::{Body, BoxError};
pub use server::{GrpcService, Server, ServerOptions};
pub use tls::{TlsError, tls_config};
pub use version::GIT_VERSION;
