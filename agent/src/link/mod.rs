//! The link to the control plane: requests, watches, and orders to open streams.

mod client;
mod session;
mod tls;
mod watch;

pub use client::{CallError, Link};
pub use session::{Orders, StreamSide};
pub use watch::{Target, Update, Watch};
