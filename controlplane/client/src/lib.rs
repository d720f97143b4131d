//! How the control plane's parts read and write: the `ResourceApi` trait, informers, work queue, controller runner.

mod api;

pub use api::*;
