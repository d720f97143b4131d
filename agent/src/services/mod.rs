//! Services and their endpoints, from the API's objects to what the pod network routes and resolves.

mod facts;
mod plan;
mod sync;

pub use facts::ServiceFacts;
pub use plan::LocalState;
pub use sync::{ServiceTable, Services, ServicesTask};
