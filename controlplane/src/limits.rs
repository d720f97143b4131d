//! Bounds of this package's queues and waits.

use std::time::Duration;

/// Orders a node has not taken yet; more wait.
pub const ORDERS_BUFFERED: usize = 64;

/// Frames of one stream that the other side has not taken yet.
pub const FRAMES_BUFFERED: usize = 32;

/// How long a node may take to answer an order.
pub const STREAM_OPEN_WAIT: Duration = Duration::from_secs(10);

/// Events of one node's watch that it has not taken yet.
pub const WATCH_EVENTS_BUFFERED: usize = 128;

/// The largest gRPC message: an object of the largest size, with room for its frame.
pub const MESSAGE_BYTES: usize = 4 << 20;

/// How often a running control plane asks whether its store still serves.
pub const STORE_LOOK: Duration = Duration::from_secs(5);
