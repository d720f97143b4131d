//! Values that many tests start from.

use crate::Config;
use std::net::Ipv4Addr;

pub fn config() -> Config {
    Config {
        state_dir: "/nowhere".into(),
        id: "test".into(),
        pod_range: "10.42.0.0/24".parse().expect("a range"),
        cluster_range: "10.42.0.0/16".parse().expect("a range"),
        service_range: "10.43.0.0/16".parse().expect("a range"),
        dns_address: Ipv4Addr::new(10, 43, 0, 10),
        cluster_domain: "cluster.local".into(),
        upstream_dns: Vec::new(),
    }
}
