//! Nodes: noticing that one is silent, keeping pods off it, moving pods away, and removing pods nobody runs.
//! <https://kubernetes.io/docs/concepts/architecture/nodes/#node-controller>

mod eviction;
mod health;
mod lifecycle;
mod pod_gc;
mod taints;

pub(crate) use eviction::run as run_eviction;
pub(crate) use lifecycle::run as run_lifecycle;
pub(crate) use pod_gc::run as run_pod_gc;
