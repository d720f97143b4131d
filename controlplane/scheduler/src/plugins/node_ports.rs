//! Two pods of a node cannot hold the same host port on overlapping addresses.

use crate::explanation::Refusal;
use crate::node::NodeState;
use coracle_client::facts::{HostPort, PodFacts};

pub fn check(pod: &PodFacts, node: &NodeState) -> Result<(), Refusal> {
    if pod.host_ports.is_empty() {
        return Ok(());
    }
    let taken = pod.host_ports.iter().any(|wanted| node.host_ports().any(|held| collide(wanted, held)));
    if taken { Err(Refusal::resolvable("node(s) didn't have free ports for the requested pod ports")) } else { Ok(()) }
}

fn collide(a: &HostPort, b: &HostPort) -> bool {
    let every = |ip: &str| ip.is_empty() || ip == "0.0.0.0";
    a.port == b.port && a.protocol == b.protocol && (a.ip == b.ip || every(&a.ip) || every(&b.ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_collide_on_overlapping_addresses() {
        let port = |ip: &str, protocol: &str, port| HostPort { ip: ip.into(), protocol: protocol.into(), port };
        let held = port("10.0.0.1", "TCP", 80);
        let table = [
            (port("", "TCP", 80), true),
            (port("0.0.0.0", "TCP", 80), true),
            (port("10.0.0.1", "TCP", 80), true),
            (port("10.0.0.2", "TCP", 80), false),
            (port("", "UDP", 80), false),
            (port("", "TCP", 81), false),
        ];
        for (wanted, collides) in table {
            assert_eq!(collide(&wanted, &held), collides, "{wanted:?}");
        }
    }
}
