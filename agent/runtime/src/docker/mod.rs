//! Docker behind the runtime's trait, for nodes that have it anyway. A sandbox is a container that only waits
//! (`coracle pause`); the pod's other containers join its namespaces, and our own network is attached to it. What we know
//! of a container stands in its labels, so nothing is lost when the agent ends.

mod builtin;
mod cgroup;
mod engine;
mod error;
mod events;
mod images;
mod labels;
mod limits;
mod logs;
mod pause;
mod processes;
mod runtime;
mod session;
mod spec;
mod state;

pub use engine::{Docker, DockerConfig};
pub use pause::pause_main;
