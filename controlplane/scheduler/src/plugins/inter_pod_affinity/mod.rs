//! Pods that want to be near others, or far from them:
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity>.

mod preferred;
mod required;
mod term;

pub use preferred::score;
pub use required::filter;
pub use term::has_terms;
