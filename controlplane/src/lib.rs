//! The control plane put together: store, API server, controllers, scheduler and the nodes' sessions.

pub mod files;
pub mod pki;
