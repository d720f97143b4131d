//! Bounds on what is asked of Docker.

use std::time::Duration;

/// A request must begin to be answered within this.
pub const ANSWER_SECONDS: u64 = 120;
/// Containers looked at in parallel.
pub const INSPECTIONS: usize = 8;
/// Events kept for a slow reader; past that it is told that it missed some.
pub const EVENTS: usize = 1024;
/// Before events are asked for again after the stream broke.
pub const EVENTS_AGAIN: Duration = Duration::from_millis(500);
/// Pieces of a stream in each direction.
pub const SESSION_PIECES: usize = 32;
pub const RESIZES: usize = 4;
/// After the end of an exec's output, until Docker says how it ended.
pub const EXIT_CODE: Duration = Duration::from_secs(10);
/// Looks for that, and for a container that was killed, this far apart.
pub const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// After SIGKILL, until Docker says it has exited.
pub const KILLED: Duration = Duration::from_secs(30);
/// A log file, before Docker begins the next one, and how many it keeps. Large, because Docker's followers may miss and
/// double lines at that moment (seen with 20.10).
pub const LOG_FILE_SIZE: &str = "100m";
pub const LOG_FILES: &str = "2";
/// A seccomp profile on the node.
pub const PROFILE_BYTES: u64 = 1 << 20;
/// Lines on their way to a follower.
pub const LOG_LINES: usize = 64;
/// Times of lines that are remembered, to go on where Docker broke off.
pub const LOG_NEIGHBOURS: usize = 64;
/// Looks for the processes of a command that nobody listens to any more.
pub const KILL_ROUNDS: usize = 5;
/// One that is attached and does not read: Docker would hold the container up for it, so it is let go.
pub const DEAF: Duration = Duration::from_secs(5);
