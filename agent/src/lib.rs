//! The node agent: it makes the pods that the control plane bound to this node run, and keeps them running when
//! the control plane is gone.

mod agent;
mod checkpoint;
mod config;
mod error;
mod events;
pub mod limits;
mod link;
mod node;
mod objects;
mod pods;
mod probes;
mod services;
mod streams;
mod volumes;

pub use agent::{Agent, AgentHandle};
pub use config::{AgentConfig, CapacityOverrides, ClusterFacts, TlsConfig};
pub use error::AgentError;
