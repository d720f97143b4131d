//! Every bound of this package but those of images, which keep their own.

use std::time::Duration;

/// One frame between agent and shim.
pub const FRAME_BYTES: usize = 1 << 20;
/// One read of a container's output, so one frame of it.
pub const CHUNK_BYTES: usize = 32 << 10;
/// A log line is cut into partial ones of this size, as containerd does.
pub const LOG_LINE_BYTES: usize = 16 << 10;
/// A log file is followed by the next one past this size, as kubelet's `containerLogMaxSize`.
pub const LOG_FILE_BYTES: u64 = 10 << 20;
/// Log files kept, as kubelet's `containerLogMaxFiles`.
pub const LOG_FILES: u64 = 5;
/// Output that waits in the shim for one attached client before its source is no longer read.
pub const CLIENT_BACKLOG_BYTES: usize = 256 << 10;
/// How long an attached client may block the container's output before it is let go.
pub const CLIENT_STALL: Duration = Duration::from_secs(5);
/// Input that waits in the shim for one process.
pub const STDIN_BACKLOG_BYTES: usize = 64 << 10;
/// Connections to one shim: execs, attaches and watches together.
pub const SHIM_CLIENTS: usize = 64;
/// How long output is still read after a process ended while someone else holds its pipes open.
pub const DRAIN: Duration = Duration::from_secs(2);
/// How long processes left in an ended container's cgroup may take to die.
pub const CGROUP_KILL: Duration = Duration::from_secs(5);
/// From a shim's start to its word that the container runs or can't.
pub const START: Duration = Duration::from_secs(120);
/// What the agent adds to that before it gives up on the shim.
pub const START_MARGIN: Duration = Duration::from_secs(10);
/// How long a shim that lives may not listen, at its very beginning and end, and the pause between two tries.
pub const SHIM_SILENCE: Duration = Duration::from_secs(10);
pub const SHIM_PAUSE: Duration = Duration::from_millis(2);
/// How long a shim tries to record its container's end on a disk that takes nothing, and the pause between two tries.
pub const RECORD_PATIENCE: Duration = Duration::from_secs(60);
pub const RECORD_PAUSE: Duration = Duration::from_millis(250);
/// The agent's pauses between two tries to tell what became of a container: twice as long each time, up to the second.
pub const SETTLE_PAUSE: Duration = Duration::from_millis(250);
pub const SETTLE_PAUSE_MOST: Duration = Duration::from_secs(30);
/// Past the grace period, for SIGKILL to do its work.
pub const STOP_MARGIN: Duration = Duration::from_secs(15);
/// Messages from the launching child to its shim.
pub const LAUNCH_REPORT_BYTES: usize = 64 << 10;
/// `/etc/passwd` and `/etc/group` of an image.
pub const ACCOUNT_FILE_BYTES: u64 = 4 << 20;
/// State files on disk.
pub const STATE_FILE_BYTES: u64 = 16 << 20;
/// A seccomp profile on the node.
pub const PROFILE_BYTES: u64 = 1 << 20;
/// Change notices a slow subscriber may be behind.
pub const EVENTS: usize = 1024;
/// Chunks between a session's socket and its user.
pub const SESSION_CHUNKS: usize = 16;
/// Lines read ahead for one reader of a log.
pub const LOG_LINES_AHEAD: usize = 256;
/// Exits of children that the shim reaped before it knew which process they were.
pub const EARLY_EXITS: usize = 64;
