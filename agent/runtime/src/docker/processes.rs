//! Ending a command with all it started. The low-level runtime makes each command the leader of a session.

use super::limits;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Kills every process of the session, those that are started meanwhile too.
pub fn kill_session(leader: i32) {
    for _ in 0..limits::KILL_ROUNDS {
        let members = members(leader);
        if members.is_empty() {
            return;
        }
        for pid in members {
            kill(pid, leader);
        }
    }
}

fn members(leader: i32) -> Vec<Pid> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| session_of(*pid) == Some(leader)).filter_map(Pid::from_raw).collect()
}

/// Looked at again through a descriptor, so that nobody is hit who got the number meanwhile.
fn kill(pid: Pid, leader: i32) {
    let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    if session_of(pid.as_raw_nonzero().get()) == Some(leader)
        && let Err(e) = pidfd_send_signal(fd, Signal::KILL)
        && e != rustix::io::Errno::SRCH
    {
        tracing::warn!(pid = pid.as_raw_nonzero().get(), error = %e, "a command that nobody listens to cannot be killed");
    }
}

/// `None` for one that is gone or only waits to be reaped.
fn session_of(pid: i32) -> Option<i32> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// `pid (name) state parent group session …`; the name may hold anything.
fn parse(stat: &str) -> Option<i32> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    fields.nth(2)?.parse().ok().filter(|_| !matches!(state, "Z" | "X"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_stands_after_a_name_that_may_hold_anything() {
        assert_eq!(parse("5 (a) R) 9 9 9) S 4 3 2 1 0"), Some(2));
        assert_eq!(parse("5 (a) Z 4 3 2 1 0"), None);
        assert_eq!(parse("5 (a"), None);
    }
}
