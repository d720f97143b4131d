//! Compact projections of objects: what the control plane's readers need of each kind, a few hundred bytes apiece.

mod meta;
mod node;
mod pod;
mod pod_constraints;
mod pod_raw;
mod requests;
mod service;
mod workload;

pub use meta::{Labels, Meta, Owner};
pub use node::{NodeCondition, NodeFacts, NodeImage};
pub use pod::{ContainerPort, HostPort, Phase, PodFacts};
pub use pod_constraints::Constraints;
pub use requests::Requests;
pub use service::{ServiceFacts, ServicePort};
pub use workload::{LeaseFacts, WorkloadFacts};

use coracle_proto::{ApiError, Object, Resource};

/// What an informer keeps of each object.
pub trait Project: Send + Sync + Sized + 'static {
    fn project(object: &Object) -> Result<Self, ApiError>;

    fn meta(&self) -> &Meta;

    /// Indexes beyond namespace and owner, which every informer has.
    fn indexes() -> &'static [Index<Self>] {
        &[]
    }
}

/// One extra index of an informer.
pub struct Index<T> {
    pub name: &'static str,
    /// The values `T` is found under.
    pub values: fn(&T) -> Vec<String>,
}

/// A projection of exactly one kind.
pub trait Kind: Project {
    const RESOURCE: Resource;
}
