//! Pods of one sort spread evenly over zones, nodes or other domains:
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/>.

mod constraint;
mod hard;
mod soft;

pub use hard::filter;
pub use soft::{normalise, score};
