//! Containers and images behind one trait.

mod api;
mod cgroup;
mod docker;
mod durable;
mod embedded;
mod frame;
pub mod images;
mod limits;
mod privilege;
mod seccomp;
mod shim;
mod spec;
mod sys;

pub use api::*;
pub use cgroup::{ensure_pod_cgroup, remove_pod_cgroup};
pub use docker::{Docker, DockerConfig, pause_main};
pub use embedded::{Embedded, EmbeddedConfig};
pub use shim::shim_main;
