//! What is there, in memory: the records from disk and each container's last known state.

use super::records::{ContainerRecord, SandboxRecord};
use crate::{Container, ContainerId, RuntimeError, SandboxId, State};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

#[derive(Default)]
pub struct Table {
    rows: Mutex<Rows>,
}

#[derive(Default)]
struct Rows {
    sandboxes: HashMap<SandboxId, SandboxRecord>,
    containers: HashMap<ContainerId, Entry>,
}

#[derive(Clone)]
struct Entry {
    record: Arc<ContainerRecord>,
    state: watch::Sender<State>,
    /// Held by whoever starts or removes it.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Table {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        // Rows are replaced whole, so a panic elsewhere leaves none half done.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, id: &ContainerId) -> Result<Entry, RuntimeError> {
        let missing = || RuntimeError::NotFound { what: "container", id: id.0.clone() };
        self.rows().containers.get(id).cloned().ok_or_else(missing)
    }

    pub fn add_sandbox(&self, record: SandboxRecord) {
        self.rows().sandboxes.insert(record.id.clone(), record);
    }

    pub fn remove_sandbox(&self, id: &SandboxId) {
        self.rows().sandboxes.remove(id);
    }

    pub fn sandbox(&self, id: &SandboxId) -> Result<SandboxRecord, RuntimeError> {
        let missing = || RuntimeError::NotFound { what: "sandbox", id: id.0.clone() };
        self.rows().sandboxes.get(id).cloned().ok_or_else(missing)
    }

    /// Oldest first.
    pub fn sandboxes(&self) -> Vec<SandboxRecord> {
        let mut all: Vec<_> = self.rows().sandboxes.values().cloned().collect();
        all.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        all
    }

    pub fn add_container(&self, record: ContainerRecord, state: State) {
        let id = record.id.clone();
        let entry = Entry { record: Arc::new(record), state: watch::Sender::new(state), turn: Arc::default() };
        self.rows().containers.insert(id, entry);
    }

    pub fn remove_container(&self, id: &ContainerId) {
        self.rows().containers.remove(id);
    }

    pub fn record(&self, id: &ContainerId) -> Result<Arc<ContainerRecord>, RuntimeError> {
        self.entry(id).map(|entry| entry.record)
    }

    pub fn container(&self, id: &ContainerId) -> Result<Container, RuntimeError> {
        self.entry(id).map(|entry| entry.record.shown(entry.state.borrow().clone()))
    }

    /// Oldest first.
    pub fn containers(&self) -> Vec<Container> {
        let rows = self.rows();
        let mut all: Vec<_> =
            rows.containers.values().map(|entry| entry.record.shown(entry.state.borrow().clone())).collect();
        drop(rows);
        all.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        all
    }

    pub fn containers_of(&self, sandbox: &SandboxId) -> Vec<ContainerId> {
        let rows = self.rows();
        let mine = rows.containers.values().filter(|entry| entry.record.sandbox == *sandbox);
        mine.map(|entry| entry.record.id.clone()).collect()
    }

    pub fn state(&self, id: &ContainerId) -> Result<State, RuntimeError> {
        self.entry(id).map(|entry| entry.state.borrow().clone())
    }

    pub fn watch(&self, id: &ContainerId) -> Result<watch::Receiver<State>, RuntimeError> {
        self.entry(id).map(|entry| entry.state.subscribe())
    }

    /// True where that is news. An end is final.
    pub fn set_state(&self, id: &ContainerId, state: State) -> bool {
        let Ok(entry) = self.entry(id) else { return false };
        entry.state.send_if_modified(|old| {
            let news = *old != state && !matches!(old, State::Exited { .. });
            if news {
                *old = state;
            }
            news
        })
    }

    pub fn turn(&self, id: &ContainerId) -> Result<Arc<tokio::sync::Mutex<()>>, RuntimeError> {
        self.entry(id).map(|entry| entry.turn)
    }
}
