//! When volumes of content are brought up to date: one refresh at a time, and one that failed is tried again.

use jiff::Timestamp;

#[derive(Debug, Default)]
pub struct Refresh {
    /// Volumes are behind what they are made of.
    stale: bool,
    /// One is on its way.
    running: bool,
    /// Not before this, as the last one failed.
    retry_at: Option<Timestamp>,
}

impl Refresh {
    /// Something they are made of changed: worth a try at once.
    pub fn mark_stale(&mut self) {
        (self.stale, self.retry_at) = (true, None);
    }

    /// When the next is due, if any may begin; `token_due` is when the first token is to be renewed.
    pub fn due_at(&self, token_due: Option<Timestamp>) -> Option<Timestamp> {
        if self.running {
            return None;
        }
        let due = if self.stale { Some(Timestamp::MIN) } else { token_due };
        due.map(|due| self.retry_at.map_or(due, |retry_at| due.max(retry_at)))
    }

    /// What changes from here on is for the next one.
    pub fn begin(&mut self) {
        *self = Self { running: true, ..Self::default() };
    }

    /// `retry_at` where it failed.
    pub fn end(&mut self, retry_at: Option<Timestamp>) {
        self.running = false;
        // A change meanwhile is worth a try at once; otherwise the failed one is due later.
        if !self.stale {
            (self.stale, self.retry_at) = (retry_at.is_some(), retry_at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::fixtures::at;

    #[test]
    fn one_at_a_time_and_a_failed_one_again() {
        let mut refresh = Refresh::default();
        assert_eq!((refresh.due_at(None), refresh.due_at(Some(at(9)))), (None, Some(at(9))));
        refresh.mark_stale();
        assert_eq!(refresh.due_at(Some(at(9))), Some(Timestamp::MIN));
        refresh.begin();
        assert_eq!(refresh.due_at(Some(at(9))), None);
        refresh.end(Some(at(5)));
        // A token that is due as well does not hurry it.
        assert_eq!((refresh.due_at(None), refresh.due_at(Some(at(1)))), (Some(at(5)), Some(at(5))));
        refresh.mark_stale();
        assert_eq!(refresh.due_at(None), Some(Timestamp::MIN));
        refresh.begin();
        refresh.end(None);
        assert_eq!(refresh.due_at(None), None);
    }

    #[test]
    fn a_change_meanwhile_is_not_lost() {
        let mut refresh = Refresh::default();
        refresh.begin();
        refresh.mark_stale();
        refresh.end(None);
        assert_eq!(refresh.due_at(None), Some(Timestamp::MIN));
    }
}
