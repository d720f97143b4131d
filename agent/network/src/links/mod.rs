//! Links, addresses and routes: how a pod is wired, by rtnetlink.
//!
//! Each pod has a veth pair of its own and a single address (/32) on it; its only route leads to the gateway, and the
//! host has a route to the pod through its end of the pair. So pods never share a link: everything between them is
//! routed by the host, passes the packet rules once each way, and the answers of services are changed back no matter
//! what `br_netfilter` is set to. (Pods as ports of one bridge would talk past the rules when they answer directly.)
//! Both ends know each other's link address beforehand; no ARP is ever asked.
//!
//! The gateway's address sits on a bridge without ports, which is there before the first pod and after the last. An
//! address nobody has is answered with "unreachable" at once, and the service range is routed to the bridge only so that
//! the host picks the gateway as its source: the rules have changed the destination before anything is sent there.

mod names;
mod namespace;
mod node;
mod pod;

pub use node::Links;
