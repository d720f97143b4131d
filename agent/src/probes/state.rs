//! Counting a probe's answers against its thresholds: pure.

use k8s_openapi::api::core::v1::Probe;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

impl ProbeKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// A probe's numbers with upstream's defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    pub initial_delay: Duration,
    pub period: Duration,
    pub timeout: Duration,
    pub successes: u32,
    pub failures: u32,
    /// Overrides the pod's grace where this probe kills.
    pub grace: Option<Duration>,
}

impl Settings {
    pub fn of(probe: &Probe) -> Self {
        let number = |value: Option<i32>, default: u32| match value.and_then(|v| u32::try_from(v).ok()) {
            Some(v) if v > 0 => v,
            _ => default,
        };
        let seconds = |value: Option<i32>, default: u32| Duration::from_secs(number(value, default).into());
        Self {
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            successes: number(probe.success_threshold, 1),
            failures: number(probe.failure_threshold, 3),
            grace: probe.termination_grace_period_seconds.and_then(|s| u64::try_from(s).ok()).map(Duration::from_secs),
        }
    }
}

/// What a probe has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Passes,
    Fails,
}

/// Counts equal answers in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counter {
    last: Option<bool>,
    run: u32,
}

impl Counter {
    /// The verdict, where this answer reaches a threshold.
    pub fn count(&mut self, good: bool, settings: &Settings) -> Option<Verdict> {
        if self.last == Some(good) {
            self.run = self.run.saturating_add(1);
        } else {
            (self.last, self.run) = (Some(good), 1);
        }
        match good {
            true if self.run >= settings.successes => Some(Verdict::Passes),
            false if self.run >= settings.failures => Some(Verdict::Fails),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings(successes: i32, failures: i32) -> Settings {
        let probe = json!({"successThreshold": successes, "failureThreshold": failures});
        Settings::of(&serde_json::from_value(probe).expect("a probe"))
    }

    #[test]
    fn thresholds_are_of_answers_in_a_row() {
        use Verdict::{Fails, Passes};
        let table: &[(i32, i32, &str, &[Option<Verdict>])] = &[
            (1, 3, "+", &[Some(Passes)]),
            (1, 3, "---+", &[None, None, Some(Fails), Some(Passes)]),
            (1, 3, "--+--", &[None, None, Some(Passes), None, None]),
            (2, 1, "++-+", &[None, Some(Passes), Some(Fails), None]),
            (1, 1, "-", &[Some(Fails)]),
        ];
        for (successes, failures, answers, expected) in table {
            let mut counter = Counter::default();
            let verdicts: Vec<_> =
                answers.chars().map(|c| counter.count(c == '+', &settings(*successes, *failures))).collect();
            assert_eq!(&verdicts, expected, "{successes} {failures} {answers}");
        }
    }

    #[test]
    fn numbers_default_as_upstream() {
        let defaults = Settings::of(&Probe::default());
        assert_eq!((defaults.period.as_secs(), defaults.timeout.as_secs()), (10, 1));
        assert_eq!((defaults.successes, defaults.failures, defaults.initial_delay.as_secs()), (1, 3, 0));
        let hostile: Probe =
            serde_json::from_value(json!({"periodSeconds": -5, "timeoutSeconds": 0})).expect("a probe");
        assert_eq!(Settings::of(&hostile), defaults);
    }
}
