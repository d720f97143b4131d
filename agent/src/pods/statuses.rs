//! The last rendered status of every pod, for those who serve its streams.

use k8s_openapi::api::core::v1::PodStatus;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// By UID. Cheap to clone.
#[derive(Clone, Default)]
pub struct Statuses(Arc<Mutex<HashMap<String, PodStatus>>>);

impl Statuses {
    pub fn put(&self, uid: &str, status: PodStatus) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), status);
    }

    pub fn remove(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    pub fn get(&self, uid: &str) -> Option<PodStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
    }
}
