//! The control plane put together: store, API server, controllers, scheduler and the nodes' sessions.

mod app;
pub mod cluster;
pub mod files;
pub mod limits;
mod nodelink;
pub mod pki;
mod sessions;

pub use app::{Broken, ControlPlane, ControlPlaneConfig, StartError};
