//! From what is wanted to the table: [`render`] is the whole of it.
//!
//! A packet meets the table in this order. `guard` keeps pods from the host's loopback. `prerouting` (from pods and the
//! world) and `output` (from the host) look the destination up in `services` (address, protocol, port) and, if it is an
//! address of the host, in `ports` (protocol, port); what is found names the chain of a service port, which picks an
//! endpoint. `forward`, `input` and `output_filter` refuse what still wants a service: it has no endpoint.
//! `postrouting` changes the source where an answer would not come back through this host.

use super::endpoints::{Tables, host_port_chains, service_chains};
use super::filter;
use super::ruleset::*;
use crate::{Config, HostPort, Protocol, Services};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// All that the rules follow from.
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    pub config: &'a Config,
    pub services: &'a Services,
    pub host_ports: &'a [HostPortBinding],
    pub comment: &'a str,
}

/// A pod's wish for a port of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPortBinding {
    pub pod: Ipv4Addr,
    pub port: HostPort,
}

pub(super) const SERVICES: &str = "services";
pub(super) const SERVICE_ADDRESSES: &str = "service-addresses";
pub(super) const PORTS: &str = "ports";
pub(super) const HAIRPIN: &str = "hairpin";
pub(super) const REMOTE: &str = "remote-endpoints";
pub(super) const REFUSED_ADDRESSES: &str = "refused-addresses";
pub(super) const REFUSED_PORTS: &str = "refused-ports";

/// `NF_INET_*` hooks and the usual priorities (`NF_IP_PRI_*`).
pub(super) const PREROUTING: u32 = 0;
pub(super) const INPUT: u32 = 1;
pub(super) const FORWARD: u32 = 2;
pub(super) const OUTPUT: u32 = 3;
pub(super) const POSTROUTING: u32 = 4;
const PRIORITY_RAW: i32 = -300;
const PRIORITY_DNAT: i32 = -100;
const PRIORITY_SNAT: i32 = 100;

pub(super) const BY_SERVICE: &[Field] = &[Field::DestinationAddress, Field::Protocol, Field::DestinationPort];
pub(super) const BY_PORT: &[Field] = &[Field::Protocol, Field::DestinationPort];
const BY_PAIR: &[Field] = &[Field::SourceAddress, Field::DestinationAddress];

/// The name of a node's table.
pub fn table_name(id: &str) -> String {
    format!("coracle-{id}")
}

/// The link group of a node's links, by which rules know them. Within the 31 bits that the kernel keeps.
pub fn group(id: &str) -> u32 {
    let hash = id.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash & 0x7fff_ffff).max(1)
}

/// The table that makes the kernel do what `state` says.
pub fn render(state: State<'_>) -> Ruleset {
    let config = state.config;
    let mut tables = Tables::default();
    dns_chains(config, &mut tables);
    host_port_chains(state.host_ports, &mut tables);
    for service in &state.services.0 {
        service_chains(config, service, &mut tables);
    }
    let Tables { addresses, ports, refused_addresses, refused_ports, endpoints, mut chains, mut sets } = tables;
    let hairpin = endpoints.iter().map(|(address, ..)| *address).filter(|address| config.pod_range.contains(address));
    let hairpin = hairpin.map(|address| Key::AddressPair(address, address)).collect();
    let remote = endpoints.iter().filter(|(address, ..)| !config.pod_range.contains(address));
    let remote = remote.map(|&(address, protocol, port)| Key::AddressPort(address, protocol, port)).collect();

    sets.insert(SERVICE_ADDRESSES.into(), Set::verdicts(KeyKind::AddressPort, addresses));
    sets.insert(PORTS.into(), Set::verdicts(KeyKind::Port, ports));
    sets.insert(HAIRPIN.into(), Set { key: KeyKind::AddressPair, data: SetData::Members(hairpin) });
    sets.insert(REMOTE.into(), Set { key: KeyKind::AddressPort, data: SetData::Members(remote) });
    sets.insert(REFUSED_ADDRESSES.into(), Set { key: KeyKind::AddressPort, data: SetData::Members(refused_addresses) });
    sets.insert(REFUSED_PORTS.into(), Set { key: KeyKind::Port, data: SetData::Members(refused_ports) });
    chains.extend(filter::chains(config));
    chains.extend(nat_chains(config));
    Ruleset { table: table_name(&config.id), comment: state.comment.into(), sets, chains }
}

fn nat_chains(config: &Config) -> [(String, Chain); 5] {
    let to_services = || vec![Rule::of([Verdict::Jump(SERVICES.into()).into()])];
    let services = vec![
        Rule::of([Statement::VerdictMap { fields: BY_SERVICE, map: SERVICE_ADDRESSES.into() }]),
        Rule::of([Match::DestinationLocal.into(), Statement::VerdictMap { fields: BY_PORT, map: PORTS.into() }]),
    ];
    let guard = Rule::of([
        Match::InGroup(group(&config.id)).into(),
        Match::Destination { net: loopback(), inside: true }.into(),
        Verdict::Drop.into(),
    ]);
    [
        ("guard".into(), Chain::at(ChainKind::Filter, PREROUTING, PRIORITY_RAW, vec![guard])),
        ("prerouting".into(), Chain::at(ChainKind::Nat, PREROUTING, PRIORITY_DNAT, to_services())),
        ("output".into(), Chain::at(ChainKind::Nat, OUTPUT, PRIORITY_DNAT, to_services())),
        (SERVICES.into(), Chain::of(services)),
        ("postrouting".into(), Chain::at(ChainKind::Nat, POSTROUTING, PRIORITY_SNAT, source_rules(config))),
    ]
}

/// Where the source must change, and why, rule by rule.
fn source_rules(config: &Config) -> Vec<Rule> {
    let gateway = gateway(config);
    let from = |net, inside| Statement::from(Match::Source { net, inside });
    let to = |net, inside| Statement::from(Match::Destination { net, inside });
    vec![
        // A pod that reaches itself through a service would answer itself directly, not to the service's address.
        Rule::of([Match::Member { fields: BY_PAIR, set: HAIRPIN.into() }.into(), Statement::SourceNat(gateway)]),
        // A node port asked for on 127.0.0.1: nobody can answer to that.
        Rule::of([from(loopback(), true), to(config.pod_range, true), Statement::SourceNat(gateway)]),
        // Nobody outside the cluster knows the way to a pod.
        Rule::of([from(config.pod_range, true), to(config.cluster_range, false), Statement::Masquerade]),
        // An endpoint elsewhere would answer the client directly. Endpoints here keep the client's address.
        Rule::of([
            from(config.cluster_range, false),
            Match::Member { fields: BY_SERVICE, set: REMOTE.into() }.into(),
            Statement::Masquerade,
        ]),
    ]
}

/// DNS has an address among the services, but the node itself answers.
fn dns_chains(config: &Config, tables: &mut Tables) {
    let target = Target { address: gateway(config), port: 53 };
    tables.chains.insert("dns".into(), Chain::of(vec![Rule::of([Statement::Balance(vec![target])])]));
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let key = Key::AddressPort(config.dns_address, protocol, 53);
        tables.addresses.insert(key, Verdict::Goto("dns".into()));
    }
}

/// The first address of the node's range is its own.
pub(crate) fn gateway(config: &Config) -> Ipv4Addr {
    config.pod_range.hosts().next().unwrap_or(config.pod_range.network())
}

pub(super) fn loopback() -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)
}

impl Tables {
    pub(super) fn is_taken(&self, key: &Key) -> bool {
        match key {
            Key::Port(..) => self.ports.contains_key(key) || self.refused_ports.contains(key),
            _ => self.addresses.contains_key(key) || self.refused_addresses.contains(key),
        }
    }
}
