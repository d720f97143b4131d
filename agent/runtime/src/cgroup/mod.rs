//! Control groups of pods and containers, version 1 and 2: where they are, what they limit, what they used, and how
//! everything in one is killed. A group is named by its path relative to the hierarchies' roots.

mod layout;
mod limit;
mod usage;

pub use layout::Cgroups;

use crate::{Resources, RuntimeError};

/// Makes a pod's group with its limits, or changes the limits of one that is there. `path` as in
/// [`crate::SandboxSpec::cgroup`].
pub fn ensure_pod_cgroup(path: &str, resources: &Resources) -> Result<(), RuntimeError> {
    Cgroups::detect()?.ensure(path, resources)
}

/// Deletes a pod's group and those below it, killing what still runs in them. No error if it is not there.
pub fn remove_pod_cgroup(path: &str) -> Result<(), RuntimeError> {
    Cgroups::detect()?.remove(path)
}

pub(crate) fn failed(doing: String) -> impl FnOnce(std::io::Error) -> RuntimeError {
    move |error| RuntimeError::Io { doing, why: error.to_string() }
}
