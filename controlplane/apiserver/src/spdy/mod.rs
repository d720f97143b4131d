//! SPDY/3.1 for `exec`, `attach` and `port-forward`: what `kubectl` speaks after `Upgrade: SPDY/3.1`.
//!
//! Server side only. Like the implementation that Kubernetes' clients use, it keeps no flow-control windows: a stream
//! that is not read holds up its connection, and TCP holds up the client.
//! <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/>

mod dictionary;
mod frame;
mod headers;
mod session;

pub use session::{Reader, Session, Stream, Writer};

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum SpdyError {
    #[error("the client broke the SPDY protocol: {0}")]
    Protocol(String),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
