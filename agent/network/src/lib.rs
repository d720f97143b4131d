//! Pod network, services and DNS of one node.
//!
//! [`Network`] is the handle for the agent. What the kernel should hold is decided purely: addresses in `ipam`, packet
//! rules in [`rules`], names in [`dns`]. What is decided is carried out by `links` (rtnetlink), [`nft`] (nf_tables) and
//! `conntrack`, which hold no opinions. `node` brings the two together; see `links` for how a pod is wired, and
//! `rules::render` for the way of a packet.

mod api;
mod claim;
mod conntrack;
pub mod dns;
mod ipam;
mod limits;
mod links;
mod neighbours;
mod network;
pub mod nft;
mod node;
mod record;
pub mod rules;
mod sysctl;
mod table;
#[cfg(test)]
mod testing;

pub use api::*;
pub use dns::{host_search_domains, resolv_conf};
pub use network::{Network, teardown_leftovers, used_ranges};
