//! DNS for pods: names of services and pods from memory, everything else from the host's own name servers. Which
//! records there are is Kubernetes' "DNS-Based Service Discovery" specification, version 1.1.0.

mod answer;
mod forward;
mod question;
mod resolv;
mod server;
mod zone;

pub use answer::{Reply, Transport, respond};
pub use resolv::{host_search_domains, resolv_conf};
pub use server::Server;
pub use zone::Zone;
