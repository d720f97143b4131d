//! The lines a user sees while something long runs: each step with the time since the start.

use std::io::{Write, stdout};
use std::time::{Duration, Instant};

pub struct Progress {
    start: Instant,
}

impl Progress {
    /// `start` is when the process began, so that the times are what the user waited.
    pub fn new() -> Self {
        Self { start: Instant::now() - process_age() }
    }

    /// One step that is done.
    pub fn step(&self, text: impl std::fmt::Display) {
        self.line(format_args!("{:>7.3}s  {text}", self.start.elapsed().as_secs_f64()));
    }

    /// A line without a time. Whoever reads may be gone already; that stops nothing.
    pub fn line(&self, text: impl std::fmt::Display) {
        let mut out = stdout().lock();
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }
}

/// How long this process has run; zero where the kernel does not tell.
fn process_age() -> Duration {
    let age = || {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // Fields after the command's closing parenthesis; starttime is the 22nd of all, in ticks since boot.
        let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
        let started = Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second());
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let now = Duration::new(now.tv_sec.try_into().ok()?, now.tv_nsec.try_into().ok()?);
        now.checked_sub(started)
    };
    age().unwrap_or_default()
}
