//! Every bound of the agent in one place: queues, waits, retries, sizes.

use std::time::Duration;

/// First and longest wait before a broken watch or session is opened anew.
pub const RECONNECT_FIRST: Duration = Duration::from_millis(50);
pub const RECONNECT_MAX: Duration = Duration::from_secs(5);
/// One API request.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(15);
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A dead peer is noticed after these two together.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// One gRPC message: an object is at most 1.5 MiB upstream; the rest is room.
pub const MESSAGE_MAX_BYTES: usize = 16 << 20;
/// Updates of one watch that wait for their reader.
pub const WATCH_QUEUE: usize = 256;
/// Config maps and secrets watched at once. The control plane allows a thousand calls on one connection.
pub const OBJECTS_MAX: usize = 800;
/// Logs, execs and port-forwards at once.
pub const STREAMS_MAX: usize = 256;
/// How long a stream that ended waits for the other side to have seen it.
pub const STREAM_DRAIN: Duration = Duration::from_secs(10);
/// Frames of one stream that wait for the other side.
pub const STREAM_QUEUE: usize = 32;
/// Largest data frame.
pub const FRAME_MAX_BYTES: usize = 32 << 10;
/// How often a beat goes up the session.
pub const BEAT_INTERVAL: Duration = Duration::from_secs(10);

/// Signals of one pod (runtime events, probe results) that wait for its worker.
pub const POD_SIGNALS: usize = 64;
/// Status patches of one pod: first and longest wait after a failure.
pub const STATUS_RETRY_FIRST: Duration = Duration::from_millis(100);
pub const STATUS_RETRY_MAX: Duration = Duration::from_secs(10);
/// A pod's last status is waited for no longer than this before the pod is deleted.
pub const LAST_STATUS_WAIT: Duration = Duration::from_secs(2);
/// Sandbox or volumes that failed are tried again after this.
pub const SETUP_RETRY: Duration = Duration::from_secs(2);
/// A container that could not be made is tried again after this.
pub const CREATE_RETRY: Duration = Duration::from_secs(10);
/// Image pulls at once on the node.
pub const PULLS_MAX: usize = 4;
/// Kubelet's back-off for containers and images.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(10);
pub const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// A container that ran this long starts over with the shortest back-off.
pub const BACKOFF_RESET: Duration = Duration::from_secs(600);
/// Exited containers kept per container of a pod, for `logs --previous`.
pub const DEAD_CONTAINERS_KEPT: usize = 1;
/// From a pod leaving the service rules to its processes hearing of it: connections whose first packet was on the way.
pub const WITHDRAW_SETTLE: Duration = Duration::from_millis(100);
/// A withdrawal that the network does not confirm in this time does not hold the pod's end up.
pub const WITHDRAW_TIMEOUT: Duration = Duration::from_secs(5);
/// Shortest grace: upstream gives a container at least two seconds after its hook.
pub const GRACE_MIN: Duration = Duration::from_secs(2);
/// Where the pod names none.
pub const GRACE_DEFAULT: Duration = Duration::from_secs(30);
/// `/dev/termination-log`, and its tail taken from the log.
pub const TERMINATION_MESSAGE_MAX_BYTES: usize = 4096;
pub const TERMINATION_LOG_MAX_BYTES: usize = 2048;
pub const TERMINATION_LOG_MAX_LINES: u64 = 80;

/// Kubelet reads no more of a probe's answer.
pub const PROBE_BODY_MAX_BYTES: usize = 10 << 10;
pub const PROBE_REDIRECTS_MAX: usize = 10;
pub const EXEC_OUTPUT_MAX_BYTES: usize = 10 << 10;

/// Events that wait to be sent; more are dropped, and the drop is logged.
pub const EVENTS_QUEUE: usize = 512;
/// Kinds of events remembered for counting repeats.
pub const EVENTS_REMEMBERED: usize = 1024;
/// So much of a pod's name is in its events' names: 253 characters are allowed, a time follows.
pub const EVENT_STEM_MAX: usize = 230;

/// A repeated event is sent so often at once, then at most this often.
pub const EVENTS_BURST: u32 = 10;
pub const EVENTS_QUIET: Duration = Duration::from_secs(60);

/// Upstream renews the lease every 10 s, the rest of the node's status every 5 min unless it changes.
pub const LEASE_INTERVAL: Duration = Duration::from_secs(10);
pub const LEASE_DURATION_SECONDS: i32 = 40;
pub const NODE_STATUS_INTERVAL: Duration = Duration::from_secs(300);
/// How often the node looks at itself for a change.
pub const NODE_CHECK_INTERVAL: Duration = Duration::from_secs(10);
pub const NODE_RETRY: Duration = Duration::from_millis(200);
/// As upstream's `nodeStatusMaxImages`.
pub const NODE_IMAGES_MAX: usize = 50;

/// Changes of the checkpoint are written together.
pub const CHECKPOINT_DELAY: Duration = Duration::from_millis(200);
pub const CHECKPOINT_QUEUE: usize = 1024;
/// A burst of services or slices is applied together after this; a withdrawal never waits.
pub const SERVICES_DELAY: Duration = Duration::from_millis(2);
/// A container's environment needs them: how long its start waits for the first list.
pub const SERVICES_WAIT: Duration = Duration::from_secs(10);
pub const SERVICES_RETRY: Duration = Duration::from_secs(1);
pub const SERVICES_QUEUE: usize = 256;

/// Longest grace when the whole node stops.
pub const STOP_GRACE_MAX: Duration = Duration::from_secs(30);
/// A container that could not be stopped is stopped again after this.
pub const STOP_RETRY: Duration = Duration::from_secs(1);
/// All pods' end in `stop_all`, beyond which they are killed.
pub const STOP_ALL_TIMEOUT: Duration = Duration::from_secs(45);
/// Tokens are renewed at 80 % of their life, and tried again after this where that failed.
pub const TOKEN_RETRY: Duration = Duration::from_secs(10);
/// Files of a volume: as many as an object can have keys, within reason.
pub const VOLUME_FILES_MAX: usize = 10_000;
