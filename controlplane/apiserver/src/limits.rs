//! Every bound of the API server, in one place.

use std::time::Duration;

/// Bytes of a request body; upstream's limit.
pub const MAX_BODY: usize = 3 * 1024 * 1024;
/// How often a read-modify-write is tried again after a conflict.
pub const MAX_CONFLICT_RETRIES: usize = 5;
/// How many random names are tried for `generateName`.
pub const MAX_NAME_RETRIES: usize = 8;
/// How many addresses or ports an allocation tries at random before it searches.
pub const RANDOM_ALLOCATION_TRIES: usize = 32;

/// Requests served at once, watches and streams aside.
pub const MAX_REQUESTS: usize = 400;
/// Long-running requests (watch, log, exec, …) served at once.
pub const MAX_LONG_REQUESTS: usize = 10_000;
/// Connections open at once, over all listeners.
pub const MAX_CONNECTIONS: usize = 16_384;
/// HTTP/2 streams per connection.
pub const MAX_STREAMS_PER_CONNECTION: u32 = 1_000;
/// A TLS handshake must end within this.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The head of the next request must arrive within this. Longer than Go's clients keep an idle connection (90 s): they
/// close first, and no request is lost on a connection the server is just closing.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(120);
/// How often an HTTP/2 connection is asked whether it lives, and how long the answer may take.
pub const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// A body must arrive within this.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// A request that is not long-running must be answered within this; upstream's `--request-timeout`.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How long open requests may go on once the server is told to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Without `timeoutSeconds` a watch ends after this, and up to twice this.
pub const WATCH_TIMEOUT: Duration = Duration::from_secs(1800);
/// The longest `timeoutSeconds` that is honoured.
pub const MAX_WATCH_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// A quiet watch that allows bookmarks gets one this often.
pub const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// A response larger than this is compressed when the client accepts it; upstream's threshold.
pub const GZIP_THRESHOLD: usize = 128 * 1024;

/// Bytes of all annotations of one object.
pub const MAX_ANNOTATIONS: usize = 256 * 1024;
/// Bytes of the data of a ConfigMap or Secret.
pub const MAX_DATA: usize = 1024 * 1024;

/// Seconds a service account token lives unless asked otherwise, and the least that may be asked.
pub const TOKEN_SECONDS: i64 = 3600;
pub const MIN_TOKEN_SECONDS: i64 = 600;
/// Tokens of pods are renewed long before; upstream's `WarnOnlyBoundTokenExpirationSeconds` asks for 3607.
pub const MAX_TOKEN_SECONDS: i64 = 1 << 32;

/// A node's first answer about a log may take so long before the client gets the head of its response.
pub const FIRST_FRAME_WAIT: Duration = Duration::from_millis(500);

/// How long an event is kept after it was last seen; upstream's default.
pub const EVENT_TTL: Duration = Duration::from_secs(3600);
/// How often old events are looked for, and how many are looked at in one page.
pub const EVENT_SWEEP_INTERVAL: Duration = Duration::from_secs(300);
pub const EVENT_SWEEP_PAGE: usize = 500;
