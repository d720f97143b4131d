//! What was acknowledged, and whether a state can be what followed from it.

use crate::process::Ack;
use crate::worker::{TASKS, WINDOW, last_key, number, value, value_key};
use coracle_store::View;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Ledger {
    tasks: [Task; TASKS],
    /// The newest revision that anybody was told.
    newest: u64,
    /// How many processes wrote since the last check; each may have had one write per task under way when it ended.
    processes: u64,
    pub acknowledged: usize,
}

#[derive(Default)]
struct Task {
    /// The last number that was acknowledged or seen after a restart; it must never be gone again.
    last: u64,
    /// The revisions of the acknowledged writes that may still be there.
    revisions: BTreeMap<u64, u64>,
}

impl Ledger {
    /// What one process said.
    pub fn add(&mut self, acks: &[Ack]) {
        self.processes += 1;
        for ack in acks {
            let task = &mut self.tasks[ack.task];
            task.last = task.last.max(ack.number);
            task.revisions.insert(ack.number, ack.revision);
            self.newest = self.newest.max(ack.revision);
            self.acknowledged += 1;
        }
    }

    /// Checks a state against everything acknowledged, and takes it as known from now on.
    pub fn check(&mut self, view: &dyn View) -> Result<(), String> {
        let revision = view.revision().0;
        if revision < self.newest {
            return Err(format!("revision {} was told, and now the newest is {revision}", self.newest));
        }
        let mut writes = 0;
        for (task, known) in self.tasks.iter_mut().enumerate() {
            writes += known.check(task, self.processes, view)?;
        }
        if revision != 1 + writes {
            return Err(format!("{writes} writes happened, but the revision is {revision}: one was doubled or lost"));
        }
        self.newest = revision;
        self.processes = 0;
        Ok(())
    }
}

impl Task {
    /// How many writes of this task happened.
    fn check(&mut self, task: usize, under_way: u64, view: &dyn View) -> Result<u64, String> {
        let entry = view.get(&last_key(task));
        let last = entry.as_ref().map_or(0, number);
        if last < self.last {
            return Err(format!("task {task}: write {} was acknowledged, the last one there is {last}", self.last));
        }
        if last > self.last + under_way {
            let known = self.last;
            return Err(format!("task {task}: write {last} is there, but only {known} was acknowledged"));
        }
        let first = last.saturating_sub(WINDOW) + 1;
        let mut before = 0;
        for number in first..=last {
            let entry = view.get(&value_key(task, number));
            let entry = entry.ok_or_else(|| format!("task {task}: write {number} is missing, {last} is there"))?;
            if entry.value != value(number) {
                return Err(format!("task {task}: write {number} has another value"));
            }
            let (created, modified) = (entry.created.0, entry.modified.0);
            let told = self.revisions.get(&number).copied().unwrap_or(modified);
            if created != modified || told != modified {
                return Err(format!(
                    "task {task}: write {number}, told {told}, is created {created}, modified {modified}"
                ));
            }
            if modified <= before {
                return Err(format!("task {task}: write {number} is at {modified}, the one before it at {before}"));
            }
            before = modified;
        }
        if entry.is_some_and(|entry| entry.modified.0 != before) {
            return Err(format!("task {task}: the parts of write {last} have different revisions"));
        }
        let there = view.count(&format!("w/{task}/")) as u64;
        if there != last + 1 - first {
            return Err(format!("task {task}: {there} values, but {} belong there", last + 1 - first));
        }
        self.last = last;
        self.revisions = self.revisions.split_off(&first);
        Ok(last)
    }
}
