//! Shares equal values: thousands of pods of one workload hold one copy of their labels, owners and constraints.

use crate::limits::INTERN_SWEEP;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

/// Values by the JSON text they were decoded from. Holds them weakly, so it keeps nothing alive.
pub struct Interner<T: ?Sized> {
    known: LazyLock<Mutex<Known<T>>>,
}

struct Known<T: ?Sized> {
    values: HashMap<Box<str>, Weak<T>>,
    sweep_at: usize,
}

impl<T: ?Sized> Interner<T> {
    pub const fn new() -> Self {
        Self { known: LazyLock::new(|| Mutex::new(Known { values: HashMap::new(), sweep_at: INTERN_SWEEP })) }
    }

    /// The value for `text`, decoded by `decode` if no equal one is alive.
    pub fn get<E>(&self, text: &str, decode: impl FnOnce() -> Result<Arc<T>, E>) -> Result<Arc<T>, E> {
        // Every step under the lock leaves the map whole, so a poisoned one is still good.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = known.values.get(text).and_then(Weak::upgrade) {
            return Ok(value);
        }
        let value = decode()?;
        known.values.insert(text.into(), Arc::downgrade(&value));
        if known.values.len() >= known.sweep_at {
            known.values.retain(|_, value| value.strong_count() > 0);
            known.sweep_at = (known.values.len() * 2).max(INTERN_SWEEP);
        }
        Ok(value)
    }
}
