//! Who holds which address and host port: a pure ledger, and its record on disk.
//!
//! The record is written aside and renamed, so whoever reads it after a kill finds the old or the new one, whole. It is
//! not synced: a power cut takes the pods' namespaces with it, and the addresses are free again.

use crate::limits::{LARGEST_POD_RANGE, SMALLEST_POD_RANGE};
use crate::rules::HostPortBinding;
use crate::{Config, HostPort, NetworkError};
use ipnet::Ipv4Net;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// What one pod holds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Holding {
    pub address: Ipv4Addr,
    pub host_ports: Vec<HostPort>,
}

/// All holdings of a node. An address is given out again as late as possible, so that whoever still talks to its last
/// holder does not reach another pod.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ledger {
    range: Ipv4Net,
    last: Ipv4Addr,
    pods: BTreeMap<String, Holding>,
}

impl Ledger {
    pub fn new(range: Ipv4Net) -> Self {
        Self { range, last: range.network(), pods: BTreeMap::new() }
    }

    pub fn range(&self) -> Ipv4Net {
        self.range
    }

    pub fn get(&self, id: &str) -> Option<&Holding> {
        self.pods.get(id)
    }

    pub fn ids(&self) -> impl Iterator<Item = &String> {
        self.pods.keys()
    }

    /// Writes down what a pod gets: the address it has already, or the next free one.
    pub fn hold(&mut self, id: &str, host_ports: &[HostPort]) -> Result<Ipv4Addr, NetworkError> {
        for port in host_ports {
            if let Some(holder) = self.port_holder(id, port) {
                return Err(NetworkError::HostPortTaken {
                    protocol: port.protocol,
                    port: port.host_port,
                    holder: holder.to_owned(),
                });
            }
        }
        let address = match self.pods.get(id) {
            Some(holding) => holding.address,
            None => self.next_free().ok_or(NetworkError::RangeExhausted(self.range))?,
        };
        self.last = if self.pods.contains_key(id) { self.last } else { address };
        self.pods.insert(id.to_owned(), Holding { address, host_ports: host_ports.to_vec() });
        Ok(address)
    }

    pub fn release(&mut self, id: &str) -> Option<Holding> {
        self.pods.remove(id)
    }

    pub fn host_ports(&self) -> Vec<HostPortBinding> {
        let bindings = self.pods.values().flat_map(|holding| {
            holding.host_ports.iter().map(|port| HostPortBinding { pod: holding.address, port: port.clone() })
        });
        bindings.collect()
    }

    fn port_holder(&self, id: &str, wanted: &HostPort) -> Option<&str> {
        let any = |address: Option<Ipv4Addr>| address.is_none_or(|address| address.is_unspecified());
        let clash = |held: &HostPort| {
            held.protocol == wanted.protocol
                && held.host_port == wanted.host_port
                && (any(held.host_ip) || any(wanted.host_ip) || held.host_ip == wanted.host_ip)
        };
        let mut others = self.pods.iter().filter(|(holder, _)| *holder != id);
        others.find(|(_, holding)| holding.host_ports.iter().any(clash)).map(|(holder, _)| holder.as_str())
    }

    /// The free address after the last one given out, around the range; never its ends, nor the gateway.
    fn next_free(&self) -> Option<Ipv4Addr> {
        let held: BTreeSet<_> = self.pods.values().map(|holding| holding.address).collect();
        let first = u32::from(self.range.network()) + 2;
        let end = u32::from(self.range.broadcast());
        let start = (u32::from(self.last) + 1).clamp(first, end);
        (start..end).chain(first..start).map(Ipv4Addr::from).find(|address| !held.contains(address))
    }
}

/// Checks what a node's network is asked to be.
pub fn validate(config: &Config) -> Result<(), NetworkError> {
    let bad = |what: String, fix: &str| Err(NetworkError::Host { what, fix: fix.into() });
    let id_ok = (1..=8).contains(&config.id.len())
        && config.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !id_ok {
        return bad(format!("the network's id {:?} is not valid", config.id), "give 1 to 8 of a-z and 0-9");
    }
    if !(LARGEST_POD_RANGE..=SMALLEST_POD_RANGE).contains(&config.pod_range.prefix_len()) {
        return bad(format!("the pod range {} has a wrong size", config.pod_range), "give one from /12 to /29");
    }
    if !config.cluster_range.contains(&config.pod_range) {
        let what = format!("the pod range {} is not within the cluster's {}", config.pod_range, config.cluster_range);
        return bad(what, "choose it inside");
    }
    if config.cluster_range.contains(&config.service_range) || config.service_range.contains(&config.cluster_range) {
        let what = format!("the ranges {} and {} overlap", config.cluster_range, config.service_range);
        return bad(what, "choose a service range outside of the pods'");
    }
    if !config.service_range.contains(&config.dns_address) {
        let what = format!("the DNS address {} is not within {}", config.dns_address, config.service_range);
        return bad(what, "choose one of the service range");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Protocol, testing};
    use proptest::prelude::*;

    fn ledger(range: &str) -> Ledger {
        Ledger::new(range.parse().expect("a range"))
    }

    #[test]
    fn a_full_range_says_so_and_a_freed_address_is_found() {
        let mut ledger = ledger("10.0.0.0/29");
        for number in 0..5 {
            ledger.hold(&number.to_string(), &[]).expect("an address");
        }
        assert_eq!(ledger.hold("more", &[]), Err(NetworkError::RangeExhausted(ledger.range())));
        let freed = ledger.release("3").expect("it was held").address;
        assert_eq!(ledger.hold("more", &[]), Ok(freed));
    }

    #[test]
    fn an_address_is_not_given_out_again_while_others_are_free() {
        let mut ledger = ledger("10.0.0.0/29");
        let first = ledger.hold("a", &[]).expect("an address");
        ledger.release("a");
        assert_ne!(ledger.hold("b", &[]), Ok(first));
    }

    #[test]
    fn host_ports_clash_by_protocol_port_and_address() {
        let port = |protocol, host_ip: Option<[u8; 4]>| HostPort {
            protocol,
            host_ip: host_ip.map(Ipv4Addr::from),
            host_port: 80,
            pod_port: 80,
        };
        let (one, other, any) = (Some([10, 0, 0, 1]), Some([10, 0, 0, 2]), Some([0; 4]));
        for (held, wanted, clash) in [
            (port(Protocol::Tcp, None), port(Protocol::Tcp, None), true),
            (port(Protocol::Tcp, None), port(Protocol::Udp, None), false),
            (port(Protocol::Tcp, one), port(Protocol::Tcp, other), false),
            (port(Protocol::Tcp, one), port(Protocol::Tcp, one), true),
            (port(Protocol::Tcp, one), port(Protocol::Tcp, any), true),
            (port(Protocol::Tcp, None), port(Protocol::Tcp, one), true),
        ] {
            let mut ledger = ledger("10.0.0.0/24");
            ledger.hold("a", std::slice::from_ref(&held)).expect("an address");
            let asked = ledger.hold("b", std::slice::from_ref(&wanted));
            assert_eq!(asked.is_err(), clash, "{held:?} {wanted:?}");
            assert_eq!(ledger.get("b").is_none(), clash, "what is refused holds nothing");
            assert!(ledger.hold("a", &[held]).is_ok(), "nobody clashes with itself");
        }
    }

    #[test]
    fn a_configuration_is_checked() {
        assert_eq!(validate(&testing::config()), Ok(()));
        assert!(validate(&Config { id: "a-b".into(), ..testing::config() }).is_err());
    }

    proptest! {
        /// Whatever is held and released: no two pods share an address, none gets the gateway's or an end of the range,
        /// a pod keeps what it has, and what is written is read again.
        #[test]
        fn addresses_are_never_shared(steps in prop::collection::vec((any::<bool>(), 0..12u8), 1..200)) {
            let mut ledger = ledger("10.0.0.0/29");
            for (hold, id) in steps {
                let id = id.to_string();
                let before = ledger.get(&id).cloned();
                if hold {
                    let given = ledger.hold(&id, &[]);
                    prop_assert!(given.is_ok() || ledger.pods.len() == 5, "it is refused only if all are held");
                    if let Some(before) = before {
                        prop_assert_eq!(given, Ok(before.address));
                    }
                } else {
                    prop_assert_eq!(ledger.release(&id), before);
                }
                let held: BTreeSet<_> = ledger.pods.values().map(|holding| holding.address).collect();
                prop_assert_eq!(held.len(), ledger.pods.len());
                for address in held {
                    let last = address.octets()[3];
                    prop_assert!(ledger.range.contains(&address) && (2..=6).contains(&last));
                }
                let text = serde_json::to_string(&ledger).expect("text");
                prop_assert_eq!(serde_json::from_str::<Ledger>(&text).expect("a ledger"), ledger.clone());
            }
        }
    }
}
