//! How the control plane's parts read and write: the `ResourceApi` trait, informers, work queue, controller runner.

mod api;
mod cache;
mod clock;
pub mod events;
pub mod facts;
mod informer;
mod informers;
mod intern;
pub mod limits;
mod queue;
mod reflector;
pub mod runner;

pub use api::*;
pub use cache::Delta;
pub use clock::{Clock, elapsed};
pub use events::{EventRecorder, Involved, Severity};
pub use facts::{Kind, Meta, NodeFacts, PodFacts, Project};
pub use informer::Informer;
pub use informers::Informers;
pub use queue::{Key, WorkQueue};
pub use runner::{Controller, Error, Next};
