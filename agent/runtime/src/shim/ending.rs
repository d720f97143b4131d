//! How a container ends: asked to stop, then killed; what it left is killed too, its last words are logged, its end is
//! on disk before anyone hears of it.

use super::clients::Role;
use super::complain;
use super::job::{self, Exit};
use super::server::{FIRST, Server};
use crate::OutputStream;
use crate::durable::{self, Survives};
use crate::frame::Frame;
use crate::limits::{CGROUP_KILL, CLIENT_STALL, DRAIN, RECORD_PATIENCE, RECORD_PAUSE, START};
use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io;
use std::time::{Duration, Instant};

/// As containerd reports a container that could not start.
const NEVER_STARTED: i32 = 128;
/// Between two looks at a cgroup that is being emptied: the kernel tells nobody.
const EMPTYING: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The container runs, or is about to.
    Following,
    /// Its first process ended; what it left is being cleared away.
    Clearing {
        since: Instant,
    },
    /// The disk did not take its end; it is tried again at `at`, and for the last time after `until`.
    Recording {
        at: Instant,
        until: Instant,
    },
    /// Its end is on disk; clients get the rest of what they should hear.
    Telling {
        until: Instant,
    },
    Over,
}

/// SIGKILL comes at `at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    pub signal: i32,
    pub at: Instant,
    pub sent: bool,
}

impl Server {
    /// What follows from how things stand now.
    pub(super) fn proceed(&mut self) -> io::Result<()> {
        let now = Instant::now();
        self.pursue_stop(now);
        self.kill_abandoned();
        self.finish_execs(now);
        match self.phase {
            Phase::Following => {
                let ended = self.processes.get(&FIRST).is_some_and(|first| first.ended.is_some());
                if ended && self.started.is_some() {
                    self.cgroups.kill(&self.job.cgroup);
                    self.phase = Phase::Clearing { since: now };
                    return self.clear(now, now);
                }
                if self.is_launching() && now >= self.begun + START {
                    kill_children();
                    return self.never_started(format!("it did not start within {} s", START.as_secs()));
                }
                Ok(())
            }
            Phase::Clearing { since } => self.clear(since, now),
            Phase::Recording { at, until } => match self.unrecorded.take_if(|_| now >= at) {
                Some(exit) => self.record(exit, until),
                None => Ok(()),
            },
            Phase::Telling { until } => {
                self.farewell();
                if self.clients.is_empty() || now >= until {
                    self.phase = Phase::Over;
                }
                Ok(())
            }
            Phase::Over => Ok(()),
        }
    }

    /// When [`Self::proceed`] has something to do though nothing happens.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = Instant> {
        let stop = self.stop.map(|stop| stop.at).filter(|_| matches!(self.phase, Phase::Following));
        let phase = match self.phase {
            Phase::Following => self.is_launching().then(|| self.begun + START),
            Phase::Over => None,
            Phase::Clearing { .. } => Some(Instant::now() + EMPTYING),
            Phase::Recording { at, .. } => Some(at),
            Phase::Telling { until } => Some(until),
        };
        let execs = self.processes.iter().filter(|(id, _)| **id != FIRST).filter_map(|(_, process)| process.ended_at);
        let execs: Vec<Instant> = execs.map(|at| at + DRAIN).collect();
        stop.into_iter().chain(phase).chain(execs)
    }

    fn is_launching(&self) -> bool {
        self.processes.get(&FIRST).is_some_and(|first| first.outcome.is_none())
    }

    fn pursue_stop(&mut self, now: Instant) {
        let (Some(stop), Some(pid)) =
            (&mut self.stop, self.processes.get(&FIRST).and_then(super::process::Process::alive))
        else {
            return;
        };
        let over = now >= stop.at;
        if !stop.sent {
            stop.sent = true;
            let signal = Signal::try_from(stop.signal).unwrap_or(Signal::SIGTERM);
            // It is our child and not reaped, so the number is still its own.
            let _ = kill(Pid::from_raw(pid), signal);
        }
        if over {
            stop.at = now + CGROUP_KILL;
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            self.cgroups.kill(&self.job.cgroup);
        }
    }

    /// Waits for the rest of the container's processes and words, but not for ever.
    fn clear(&mut self, since: Instant, now: Instant) -> io::Result<()> {
        let silent = self.processes.get(&FIRST).is_none_or(super::process::Process::is_silent);
        let empty = self.cgroups.processes(&self.job.cgroup).is_empty();
        if !empty && now < since + CGROUP_KILL {
            self.cgroups.kill(&self.job.cgroup);
            return Ok(());
        }
        if !silent && now < since + DRAIN {
            return Ok(());
        }
        let Some(ended) = self.processes.get(&FIRST).and_then(|first| first.ended) else { return Ok(()) };
        let oom = self.cgroups.oom_kills(&self.job.cgroup) > 0 && ended.code != 0;
        let exit = Exit {
            started_at: self.started.as_ref().map(|started| started.at),
            finished_at: Timestamp::now(),
            code: ended.code,
            signal: ended.signal,
            oom_killed: oom,
            message: String::new(),
        };
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            if let Err(error) = self.log.finish(stream, exit.finished_at) {
                complain(format_args!("writing the log: {error}"));
            }
        }
        self.record(exit, now + RECORD_PATIENCE)
    }

    pub(super) fn never_started(&mut self, why: String) -> io::Result<()> {
        self.cgroups.kill(&self.job.cgroup);
        let message = format!("unable to start container process: {why}");
        let exit = Exit {
            started_at: None,
            finished_at: Timestamp::now(),
            code: NEVER_STARTED,
            signal: None,
            oom_killed: false,
            message,
        };
        self.record(exit, Instant::now() + RECORD_PATIENCE)
    }

    /// Nobody hears of the end before it is on disk. A full disk may have room again in a while; past `until` the shim
    /// gives up, and the agent takes the container for lost.
    fn record(&mut self, exit: Exit, until: Instant) -> io::Result<()> {
        match durable::write(&self.folder.join(job::EXIT), &exit, Survives::PowerCut) {
            Ok(()) => self.over(&exit),
            Err(error) if Instant::now() >= until => return Err(error),
            Err(error) => {
                if !matches!(self.phase, Phase::Recording { .. }) {
                    complain(format_args!("recording the end: {error}"));
                }
                self.phase = Phase::Recording { at: Instant::now() + RECORD_PAUSE, until };
                self.unrecorded = Some(exit);
            }
        }
        Ok(())
    }

    fn over(&mut self, exit: &Exit) {
        for client in self.clients.values_mut().filter(|client| !matches!(client.role, Role::Exec(_))) {
            if exit.message.is_empty() {
                client.finish(&Frame::Exit(exit.code));
            } else {
                client.finish(&Frame::Failed(exit.message.clone()));
            }
            client.flush();
        }
        self.farewell();
        // The agent does it again with the container; this is for the time until then.
        if let Err(error) = self.cgroups.remove(&self.job.cgroup) {
            complain(error);
        }
        self.phase = Phase::Telling { until: Instant::now() + CLIENT_STALL };
    }
}

/// Launchers hang only in the kernel or on a dead file system; nothing else runs yet.
fn kill_children() {
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    for pid in children.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid > 0) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}
