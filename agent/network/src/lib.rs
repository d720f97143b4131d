//! Pod network, services and DNS of one node.
//!
//! Will offer: `Network::start(Config)`, `attach(&PodLink) -> Ipv4Addr`, `detach(id)`, `set_services(Services)`
//! (returns when the kernel has them), `gateway()`, `teardown()`; `used_ranges()`.

mod api;

pub use api::*;
