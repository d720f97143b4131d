//! Services and their endpoints, from the API's objects to what the pod network routes and resolves.

mod facts;
mod local;
mod plan;
mod sync;

pub use facts::ServiceFacts;
pub use local::LocalState;
pub use sync::{ServiceTable, Services, ServicesTask};
