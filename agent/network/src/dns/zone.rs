//! The records of the cluster: looked up in the services themselves, none is made before it is asked for.

use super::question::{Question, dashed, reverse, with_dashes};
use crate::limits::{DNS_ANSWERS, DNS_TTL_SECONDS};
use crate::{Config, EndpointAddress, Protocol, Service, Services};
use hickory_proto::rr::rdata::{A, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use ipnet::Ipv4Net;
use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// All there is to answer from.
#[derive(Debug)]
pub struct Zone {
    domain: Name,
    ranges: [Ipv4Net; 2],
    dns_address: Ipv4Addr,
    services: Arc<Services>,
    by_name: HashMap<String, usize>,
    namespaces: HashSet<String>,
    by_address: HashMap<Ipv4Addr, usize>,
}

/// What the zone says to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Records {
        answers: Vec<Record>,
        additionals: Vec<Record>,
    },
    /// The name is there, but not with this type.
    NoData,
    /// There is no such name.
    NoName,
    /// It is another name for this one.
    Alias(Name),
    /// The name is not of the cluster.
    Elsewhere,
}

/// Service, SRV priority and weight have no meaning here: every endpoint is as good as the other.
const SRV_PRIORITY: u16 = 0;
const SRV_WEIGHT: u16 = 100;

impl Zone {
    pub fn new(config: &Config, services: Arc<Services>) -> Self {
        // Checked when the server starts; the root has no services.
        let domain = domain(config).unwrap_or_else(|_| Name::root());
        let mut zone = Self {
            domain,
            ranges: [config.cluster_range, config.service_range],
            dns_address: config.dns_address,
            by_name: HashMap::with_capacity(services.0.len()),
            namespaces: HashSet::new(),
            by_address: HashMap::new(),
            services: services.clone(),
        };
        for (index, service) in services.0.iter().enumerate() {
            zone.by_name.insert(key(&service.name, &service.namespace), index);
            zone.namespaces.insert(service.namespace.to_ascii_lowercase());
            let endpoints = service.ports.iter().flat_map(|port| &port.endpoints).map(|endpoint| endpoint.address);
            let all = service.cluster_ips.iter().copied().chain(service.addresses.iter().map(|one| one.address));
            for address in all.chain(endpoints) {
                zone.by_address.entry(address).or_insert(index);
            }
        }
        zone
    }

    /// The record that says how long "no" may be remembered.
    pub fn authority(&self) -> Record {
        let (ns, mail) = (self.below(&["ns", "dns"]), self.below(&["hostmaster"]));
        let ttl = DNS_TTL_SECONDS as i32;
        let soa = SOA::new(ns, mail, 1, 7200, 1800, 86400, ttl as u32);
        Record::from_rdata(self.domain.clone(), DNS_TTL_SECONDS, RData::SOA(soa))
    }

    /// The answer to one question. A name of the cluster is never asked for elsewhere.
    pub fn find(&self, name: &Name, kind: RecordType) -> Found {
        if let Some(address) = reverse(name)
            && self.ranges.iter().any(|range| range.contains(&address))
        {
            return self.find_reverse(name, address, kind);
        }
        let Some(question) = Question::parse(name, &self.domain) else { return Found::Elsewhere };
        match question {
            Question::Apex => self.find_apex(name, kind),
            Question::Branch => Found::NoData,
            Question::Version => match kind {
                RecordType::TXT | RecordType::ANY => one(name, RData::TXT(TXT::new(vec!["1.1.0".into()]))),
                _ => Found::NoData,
            },
            Question::Namespace(namespace) if self.namespaces.contains(&namespace) => Found::NoData,
            Question::Service { name: service, namespace } => match self.service(&service, &namespace) {
                Some(service) => find_service(name, service, kind),
                None => Found::NoName,
            },
            Question::Endpoint { host, name: service, namespace } => {
                let service = self.service(&service, &namespace);
                addresses(name, kind, service.into_iter().flat_map(|service| named(service, &host)))
            }
            Question::ProtocolOf { protocol, name: service, namespace } => {
                let service = self.service(&service, &namespace);
                let known =
                    service.is_some_and(|service| service.ports.iter().any(|port| tag(port.protocol) == protocol));
                if known { Found::NoData } else { Found::NoName }
            }
            Question::Port { port, protocol, name: service, namespace } => match self.service(&service, &namespace) {
                Some(service) => self.find_port(name, service, &port, &protocol, kind),
                None => Found::NoName,
            },
            Question::Pod(address) => addresses(name, kind, [address]),
            Question::Namespace(_) | Question::Nothing => Found::NoName,
        }
    }

    fn find_apex(&self, name: &Name, kind: RecordType) -> Found {
        match kind {
            RecordType::SOA | RecordType::ANY => {
                Found::Records { answers: vec![self.authority()], additionals: Vec::new() }
            }
            RecordType::NS => {
                let server = self.below(&["ns", "dns"]);
                let address = Record::from_rdata(server.clone(), DNS_TTL_SECONDS, RData::A(A(self.dns_address)));
                Found::Records { answers: vec![record(name, RData::NS(NS(server)))], additionals: vec![address] }
            }
            _ => Found::NoData,
        }
    }

    fn find_port(&self, name: &Name, service: &Service, port: &str, protocol: &str, kind: RecordType) -> Found {
        let own = self.below(&[&service.name, &service.namespace, "svc"]);
        let mut answers = Vec::new();
        let mut additionals = Vec::new();
        let mut add = |number: u16, target: Name, address: Ipv4Addr| {
            let srv = SRV::new(SRV_PRIORITY, SRV_WEIGHT, number, target.clone());
            answers.push(record(name, RData::SRV(srv)));
            additionals.push(record(&target, RData::A(A(address))));
        };
        if service.cluster_ips.is_empty() {
            for one in visible(service).take(DNS_ANSWERS) {
                let Some((spoken, number)) = one.ports.get(port) else { continue };
                if tag(*spoken) == protocol {
                    let label = one.hostname.clone().unwrap_or_else(|| with_dashes(one.address));
                    add(*number, own.prepend_label(label.as_bytes()).unwrap_or_else(|_| own.clone()), one.address);
                }
            }
        } else {
            let found = service.ports.iter().find(|one| one.name == port && tag(one.protocol) == protocol);
            for (found, address) in found.iter().zip(&service.cluster_ips) {
                add(found.port, own.clone(), *address);
            }
        }
        match kind {
            _ if answers.is_empty() => Found::NoName,
            RecordType::SRV | RecordType::ANY => Found::Records { answers, additionals },
            _ => Found::NoData,
        }
    }

    /// The name that an address of the cluster has, if it has one.
    fn find_reverse(&self, name: &Name, address: Ipv4Addr, kind: RecordType) -> Found {
        let Some(service) = self.by_address.get(&address).and_then(|index| self.services.0.get(*index)) else {
            return Found::NoName;
        };
        if !matches!(kind, RecordType::PTR | RecordType::ANY) {
            return Found::NoData;
        }
        let own = self.below(&[&service.name, &service.namespace, "svc"]);
        let target = if service.cluster_ips.contains(&address) {
            own
        } else {
            let host = service.addresses.iter().find(|one| one.address == address).and_then(|one| one.hostname.clone());
            let label = host.unwrap_or_else(|| with_dashes(address));
            own.prepend_label(label.as_bytes()).unwrap_or(own)
        };
        one(name, RData::PTR(PTR(target)))
    }

    fn service(&self, name: &str, namespace: &str) -> Option<&Service> {
        self.by_name.get(&key(name, namespace)).and_then(|index| self.services.0.get(*index))
    }

    /// A name under the domain; the domain itself where it would be too long.
    fn below(&self, labels: &[&str]) -> Name {
        let below = Name::from_labels(labels.iter().map(|label| label.as_bytes()));
        below.ok().and_then(|below| below.append_domain(&self.domain).ok()).unwrap_or_else(|| self.domain.clone())
    }
}

/// The cluster's domain as a name.
pub fn domain(config: &Config) -> Result<Name, hickory_proto::ProtoError> {
    let mut name = Name::from_ascii(&config.cluster_domain)?.to_lowercase();
    name.set_fqdn(true);
    Ok(name)
}

fn find_service(name: &Name, service: &Service, kind: RecordType) -> Found {
    if let Some(external) = &service.external_name {
        // A target that is no name resolves to nothing.
        let Ok(mut target) = Name::from_ascii(external) else { return Found::NoName };
        target.set_fqdn(true);
        return match kind {
            RecordType::CNAME => one(name, RData::CNAME(CNAME(target))),
            _ => Found::Alias(target),
        };
    }
    if service.cluster_ips.is_empty() {
        addresses(name, kind, visible(service).map(|one| one.address))
    } else {
        addresses(name, kind, service.cluster_ips.iter().copied())
    }
}

/// Addresses as answers; none means that there is no such name (§2.4.1 of the specification).
fn addresses(name: &Name, kind: RecordType, found: impl IntoIterator<Item = Ipv4Addr>) -> Found {
    let mut seen = HashSet::new();
    let unique = found.into_iter().filter(|address| seen.insert(*address)).take(DNS_ANSWERS);
    let answers: Vec<_> = unique.map(|address| record(name, RData::A(A(address)))).collect();
    match kind {
        _ if answers.is_empty() => Found::NoName,
        RecordType::A | RecordType::ANY => Found::Records { answers, additionals: Vec::new() },
        _ => Found::NoData,
    }
}

/// The endpoints that a service shows.
fn visible(service: &Service) -> impl Iterator<Item = &EndpointAddress> {
    service.addresses.iter().filter(|one| one.ready || service.publish_not_ready)
}

/// The endpoints by this hostname, or with this address in dashes.
fn named(service: &Service, host: &str) -> impl Iterator<Item = Ipv4Addr> {
    let address = dashed(host);
    visible(service)
        .filter(move |one| match &one.hostname {
            Some(hostname) => hostname.eq_ignore_ascii_case(host),
            None => Some(one.address) == address,
        })
        .map(|one| one.address)
}

fn key(name: &str, namespace: &str) -> String {
    format!("{name}.{namespace}").to_ascii_lowercase()
}

/// As SRV names have it, without the underscore.
fn tag(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

fn record(name: &Name, data: RData) -> Record {
    Record::from_rdata(name.clone(), DNS_TTL_SECONDS, data)
}

fn one(name: &Name, data: RData) -> Found {
    Found::Records { answers: vec![record(name, data)], additionals: Vec::new() }
}
