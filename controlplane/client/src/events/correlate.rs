//! Decides what becomes of an event: dropped, counted onto an earlier one, combined with similar ones, or written anew.
//! The rules are those of client-go's `EventCorrelator`.

use super::recorder::{Involved, Severity};
use crate::clock::elapsed;
use crate::limits::{EVENT_BURST, EVENT_MEMORY, EVENT_MESSAGE, EVENT_REFILL, EVENT_SIMILAR, EVENT_SIMILAR_INTERVAL};
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// One thing to tell.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) about: Involved,
    pub(super) severity: Severity,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) at: Timestamp,
}

/// What to do about a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Drop,
    Create {
        series: Series,
        message: String,
    },
    /// Write the new count onto the event `name`.
    Count {
        series: Series,
        name: String,
        count: i32,
        message: String,
    },
}

/// Events that are one in the API: same object, reason and message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Series {
    about: Involved,
    severity: Severity,
    reason: String,
    /// `None` for combined ones.
    message: Option<String>,
}

#[derive(Default)]
pub(super) struct Correlator {
    written: Recent<Series, (String, i32)>,
    similar: Recent<(Involved, Severity, String), Similar>,
    budgets: Recent<Involved, Budget>,
}

struct Similar {
    messages: HashSet<String>,
    last: Timestamp,
}

struct Budget {
    tokens: f64,
    at: Timestamp,
}

const COMBINED: &str = "(combined from similar events): ";

impl Correlator {
    pub(super) fn decide(&mut self, report: &Report) -> Verdict {
        let (series, message) = self.combine(report);
        let affordable = self.spend(&report.about, report.at);
        match self.written.get(&series) {
            // What is not written still counts, so the next that is written tells the true number.
            Some((_, count)) if !affordable => {
                *count = count.saturating_add(1);
                Verdict::Drop
            }
            None if !affordable => Verdict::Drop,
            Some((name, count)) => {
                let (name, count) = (name.clone(), count.saturating_add(1));
                Verdict::Count { series, name, count, message }
            }
            None => Verdict::Create { series, message },
        }
    }

    /// The event now exists as `name` with this count.
    pub(super) fn remember(&mut self, series: Series, name: String, count: i32) {
        self.written.insert(series, (name, count));
    }

    /// The event is no longer there.
    pub(super) fn forget(&mut self, series: &Series) {
        self.written.remove(series);
    }

    fn combine(&mut self, report: &Report) -> (Series, String) {
        let message = shortened(&report.message);
        let key = (report.about.clone(), report.severity, report.reason.clone());
        let similar = self.similar.entry(key, || Similar { messages: HashSet::new(), last: report.at });
        if elapsed(similar.last, report.at) > EVENT_SIMILAR_INTERVAL {
            similar.messages.clear();
        }
        similar.last = report.at;
        similar.messages.insert(message.clone());
        let series = |message| Series {
            about: report.about.clone(),
            severity: report.severity,
            reason: report.reason.clone(),
            message,
        };
        if similar.messages.len() < EVENT_SIMILAR {
            return (series(Some(message.clone())), message);
        }
        // One message more is enough to know that there are too many.
        if let Some(any) = similar.messages.iter().find(|m| **m != message).cloned() {
            similar.messages.remove(&any);
        }
        (series(None), shortened(&format!("{COMBINED}{message}")))
    }

    /// A token bucket per object.
    fn spend(&mut self, about: &Involved, now: Timestamp) -> bool {
        let budget = self.budgets.entry(about.clone(), || Budget { tokens: EVENT_BURST, at: now });
        let refill = elapsed(budget.at, now).as_secs_f64() / EVENT_REFILL.as_secs_f64();
        budget.tokens = (budget.tokens + refill).min(EVENT_BURST);
        budget.at = now;
        if budget.tokens < 1.0 {
            return false;
        }
        budget.tokens -= 1.0;
        true
    }
}

fn shortened(message: &str) -> String {
    if message.len() <= EVENT_MESSAGE {
        return message.to_owned();
    }
    let end = (0..=EVENT_MESSAGE - 3).rev().find(|&at| message.is_char_boundary(at)).unwrap_or(0);
    format!("{}...", &message[..end])
}

/// A map that forgets what was used longest ago, at [`EVENT_MEMORY`] entries.
struct Recent<K, V> {
    entries: HashMap<K, (u64, V)>,
    tick: u64,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), tick: 0 }
    }
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    fn get(&mut self, key: &K) -> Option<&mut V> {
        self.tick += 1;
        let (used, value) = self.entries.get_mut(key)?;
        *used = self.tick;
        Some(value)
    }

    fn insert(&mut self, key: K, value: V) {
        self.tick += 1;
        self.make_room(&key);
        self.entries.insert(key, (self.tick, value));
    }

    fn remove(&mut self, key: &K) {
        self.entries.remove(key);
    }

    fn entry(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        self.tick += 1;
        self.make_room(&key);
        let slot = self.entries.entry(key).or_insert_with(|| (0, new()));
        slot.0 = self.tick;
        &mut slot.1
    }

    /// Drops the older half when full, so the cost per entry stays constant.
    fn make_room(&mut self, key: &K) {
        if self.entries.len() < EVENT_MEMORY || self.entries.contains_key(key) {
            return;
        }
        let mut used: Vec<u64> = self.entries.values().map(|(used, _)| *used).collect();
        let middle = used.len() / 2;
        let (_, median, _) = used.select_nth_unstable(middle);
        let median = *median;
        self.entries.retain(|_, (used, _)| *used > median);
    }
}
