//! The chains of service ports and host ports, and the keys that lead to them.

use super::display::name;
use super::render::HostPortBinding;
use super::ruleset::*;
use crate::{Config, Endpoint, Protocol, Service, ServicePort};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// What is gathered service by service. A key that is taken stays with whom it was given first.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub addresses: BTreeMap<Key, Verdict>,
    pub ports: BTreeMap<Key, Verdict>,
    pub refused_addresses: BTreeSet<Key>,
    pub refused_ports: BTreeSet<Key>,
    pub endpoints: BTreeSet<(Ipv4Addr, Protocol, u16)>,
    pub chains: BTreeMap<String, Chain>,
    pub sets: BTreeMap<String, Set>,
}

impl Tables {
    /// Leads `key` to `chain`, or refuses it where there is none.
    fn lead(&mut self, key: Key, chain: Option<&String>) {
        if self.is_taken(&key) {
            return;
        }
        let (verdicts, refused) = match key {
            Key::Port(..) => (&mut self.ports, &mut self.refused_ports),
            _ => (&mut self.addresses, &mut self.refused_addresses),
        };
        match chain {
            Some(chain) => drop(verdicts.insert(key, Verdict::Goto(chain.clone()))),
            None => drop(refused.insert(key)),
        }
    }
}

pub(super) fn host_port_chains(bindings: &[HostPortBinding], tables: &mut Tables) {
    for HostPortBinding { pod, port } in bindings {
        let key = match port.host_ip.filter(|address| !address.is_unspecified()) {
            Some(address) => Key::AddressPort(address, port.protocol, port.host_port),
            None => Key::Port(port.protocol, port.host_port),
        };
        if tables.is_taken(&key) {
            continue;
        }
        let chain = format!("host-port/{}/{}/{pod}", name(port.protocol), port.host_port);
        let target = Target { address: *pod, port: port.pod_port };
        tables.endpoints.insert((*pod, port.protocol, port.pod_port));
        tables.chains.insert(chain.clone(), Chain::of(vec![Rule::of([Statement::Balance(vec![target])])]));
        tables.lead(key, Some(&chain));
    }
}

pub(super) fn service_chains(config: &Config, service: &Service, tables: &mut Tables) {
    for port in &service.ports {
        let is_open = port.node_port.is_some() || !service.external_ips.is_empty();
        if service.cluster_ips.is_empty() && !is_open {
            continue;
        }
        let inside = pick(&port.endpoints, service.internal_local);
        let outside = pick(&port.endpoints, service.external_local);
        let internal = port_chain("service", service, port, &inside, Vec::new(), tables);
        for address in &service.cluster_ips {
            let key = Key::AddressPort(*address, port.protocol, port.port);
            // An address without endpoints is refused with the rest of the range.
            if internal.is_some() || !config.service_range.contains(address) {
                tables.lead(key, internal.as_ref());
            }
        }
        if !is_open {
            continue;
        }
        let external = if service.external_local {
            let shortcut = cluster_shortcut(config, service, port, tables);
            port_chain("external", service, port, &outside, shortcut, tables)
        } else if inside == outside {
            internal
        } else {
            port_chain("external", service, port, &outside, Vec::new(), tables)
        };
        for address in &service.external_ips {
            tables.lead(Key::AddressPort(*address, port.protocol, port.port), external.as_ref());
        }
        if let Some(node_port) = port.node_port {
            tables.lead(Key::Port(port.protocol, node_port), external.as_ref());
        }
    }
}

/// `externalTrafficPolicy: Local` is about traffic from outside: pods and the host itself reach every endpoint.
fn cluster_shortcut(config: &Config, service: &Service, port: &ServicePort, tables: &mut Tables) -> Vec<Rule> {
    let all = pick(&port.endpoints, false);
    let Some(chain) = port_chain("cluster", service, port, &all, Vec::new(), tables) else {
        return Vec::new();
    };
    let from_pods = Match::Source { net: config.cluster_range, inside: true };
    [from_pods, Match::SourceLocal].map(|from| Rule::of([from.into(), Verdict::Goto(chain.clone()).into()])).to_vec()
}

/// Makes the chain of one service port and returns its name; `None` where nothing would answer.
fn port_chain(
    kind: &str,
    service: &Service,
    port: &ServicePort,
    targets: &[Target],
    mut rules: Vec<Rule>,
    tables: &mut Tables,
) -> Option<String> {
    if targets.is_empty() && rules.is_empty() {
        return None;
    }
    let path = format!("{}/{}/{}/{}", service.namespace, service.name, name(port.protocol), port.port);
    tables.endpoints.extend(targets.iter().map(|target| (target.address, port.protocol, target.port)));
    match service.affinity_seconds {
        _ if targets.is_empty() => {}
        None => rules.push(Rule::of([Statement::Balance(targets.to_vec())])),
        Some(timeout_seconds) => {
            let timeout_seconds = timeout_seconds.max(1);
            // A map cannot change its timeout, so another timeout is another map.
            let map = format!("affinity/{timeout_seconds}s/{path}");
            let data = SetData::Affinity { timeout_seconds };
            tables.sets.insert(map.clone(), Set { key: KeyKind::Address, data });
            rules.push(Rule::of([Statement::Stick { map: map.clone(), targets: targets.to_vec() }]));
            rules.push(Rule::of([Statement::BalanceSticky { map, targets: targets.to_vec() }]));
        }
    }
    // A packet on its way while the rules change sees the old rules, but the elements of sets as they are now: the set of
    // endpoints of an old rule is empty by then. This rule needs no set.
    if targets.len() > 1 {
        rules.push(Rule::of([Statement::Balance(vec![targets[0]])]));
    }
    let chain = format!("{kind}/{path}");
    tables.chains.insert(chain.clone(), Chain::of(rules));
    Some(chain)
}

/// The endpoints a policy leaves, each once, in an order that does not depend on the input's. Addresses that the API
/// refuses for endpoints are left out here too: they would lead to the node itself, or to its provider's metadata.
fn pick(endpoints: &[Endpoint], only_local: bool) -> Vec<Target> {
    let is_sound = |address: Ipv4Addr| {
        !(address.is_unspecified() || address.is_loopback() || address.is_link_local() || address.is_multicast())
    };
    let allowed = endpoints.iter().filter(|endpoint| is_sound(endpoint.address));
    let chosen = allowed.filter(|endpoint| endpoint.local || !only_local);
    let targets: BTreeSet<_> =
        chosen.map(|endpoint| Target { address: endpoint.address, port: endpoint.port }).collect();
    targets.into_iter().collect()
}
