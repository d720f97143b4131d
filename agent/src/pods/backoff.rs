//! Kubelet's back-off: the first repetition at once, then 10 s doubling to 5 min, forgotten after a good run.

use crate::limits;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// How long one container, or one image of a pod, must wait after a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Backoff {
    /// `None` before the first failure.
    delay: Option<Duration>,
    updated: Option<Timestamp>,
}

impl Backoff {
    /// What it must have been for a container that had been restarted so often when it was last created.
    pub fn resumed(restarts: u32, updated: Timestamp) -> Self {
        (0..restarts).fold(Self::default(), |backoff, _| backoff.next(updated))
    }

    /// Until when to wait after a failure at `failed`; `None`: not at all.
    pub fn until(&self, failed: Timestamp) -> Option<Timestamp> {
        let delay = self.delay?;
        (!self.expired(failed)).then(|| failed.saturating_add(signed(delay)).unwrap_or(Timestamp::MAX))
    }

    /// The wait that [`Self::until`] has, for messages.
    pub fn delay(&self) -> Duration {
        self.delay.unwrap_or_default()
    }

    /// After one more try, made at `now`.
    #[must_use]
    pub fn next(&self, now: Timestamp) -> Self {
        let delay = match self.delay {
            Some(delay) if !self.expired(now) => (delay * 2).min(limits::BACKOFF_MAX),
            _ => limits::BACKOFF_FIRST,
        };
        Self { delay: Some(delay), updated: Some(now) }
    }

    fn expired(&self, at: Timestamp) -> bool {
        self.updated.is_some_and(|updated| at.duration_since(updated) > signed(limits::BACKOFF_RESET))
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// `10s`, `1m20s`, `5m0s`: as Go prints durations.
pub fn go_duration(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds => format!("{}m{}s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_is_bounded_and_forgets() {
        let start = Timestamp::UNIX_EPOCH;
        let at = |seconds: i64| start + SignedDuration::from_secs(seconds);
        let mut backoff = Backoff::default();
        assert_eq!(backoff.until(start), None);
        let mut delays = Vec::new();
        for _ in 0..7 {
            backoff = backoff.next(start);
            delays.push(backoff.delay().as_secs());
        }
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(backoff.until(at(1)), Some(at(301)));
        assert_eq!(backoff.until(at(601)), None);
        assert_eq!(backoff.next(at(601)).delay().as_secs(), 10);
        assert_eq!(Backoff::resumed(3, start).delay().as_secs(), 40);
        assert_eq!(Backoff::resumed(0, start), Backoff::default());
    }

    #[test]
    fn durations_print_as_gos() {
        for (seconds, text) in [(10, "10s"), (80, "1m20s"), (300, "5m0s")] {
            assert_eq!(go_duration(Duration::from_secs(seconds)), text);
        }
    }
}
