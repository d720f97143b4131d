//! EndpointSlice: some of the addresses behind a Service.

use super::endpoints::endpoint_ip;
use super::{Column, Facts, ResourceType, age, column, name_cell};
use crate::validate::{Errors, Path, enumeration, immutable, items, text};
use coracle_proto::field::FieldError;
use coracle_proto::resource::ENDPOINT_SLICES;
use coracle_proto::{Tree, name};
use jiff::Timestamp;
use serde_json::Value;
use std::net::IpAddr;

pub struct EndpointSlices;

const MAX_ENDPOINTS: usize = 1000;
const MAX_PORTS: usize = 20_000;
const MAX_ADDRESSES: usize = 100;
const SHOWN: usize = 3;

static FACTS: Facts = Facts::new(ENDPOINT_SLICES, "endpointslice", "endpointslices.discovery.k8s.io").generation();

static COLUMNS: [Column; 5] = [
    column("Name", "string", "Name must be unique within a namespace."),
    column("AddressType", "string", "The type of all addresses in the slice."),
    column("Ports", "string", "Ports every endpoint serves."),
    column("Endpoints", "string", "Addresses in the slice."),
    column("Age", "string", "Time since creation."),
];

impl ResourceType for EndpointSlices {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn validate(&self, object: &Tree, errors: &mut Errors) {
        let family = text(object, "addressType");
        if family.is_empty() {
            errors.push(FieldError::required("addressType", ""));
        } else {
            enumeration(family, &["FQDN", "IPv4", "IPv6"], &Path::root("addressType"), errors);
        }
        validate_endpoints(items(object, "endpoints"), family, errors);
        validate_ports(items(object, "ports"), errors);
    }

    fn validate_update(&self, new: &Tree, old: &Tree, errors: &mut Errors) {
        immutable(&new["addressType"], &old["addressType"], &Path::root("addressType"), errors);
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Tree, now: Timestamp) -> Vec<Value> {
        let ports = items(object, "ports").iter().map(|p| p["port"].as_i64().map_or("*".into(), |n| n.to_string()));
        let addresses = items(object, "endpoints").iter().flat_map(|e| items(e, "addresses"));
        let addresses = addresses.filter_map(|a| a.as_str().map(str::to_owned));
        vec![
            name_cell(object),
            text(object, "addressType").into(),
            list_cell(ports.collect(), "<unset>").into(),
            list_cell(addresses.collect(), "<unset>").into(),
            age(object, now),
        ]
    }
}

fn list_cell(list: Vec<String>, none: &str) -> String {
    match list.len() {
        0 => none.into(),
        n if n > SHOWN => format!("{} + {} more...", list[..SHOWN].join(","), n - SHOWN),
        _ => list.join(","),
    }
}

fn validate_endpoints(endpoints: &[Tree], family: &str, errors: &mut Errors) {
    let list = Path::root("endpoints");
    if endpoints.len() > MAX_ENDPOINTS {
        errors.push(FieldError::too_many(list, endpoints.len(), MAX_ENDPOINTS));
        return;
    }
    for (at, endpoint) in endpoints.iter().enumerate() {
        let path = list.index(at);
        let addresses = path.field("addresses");
        let found = items(endpoint, "addresses");
        if found.is_empty() {
            errors.push(FieldError::required(addresses, "must contain at least 1 address"));
        } else if found.len() > MAX_ADDRESSES {
            errors.push(FieldError::too_many(addresses, found.len(), MAX_ADDRESSES));
        }
        for (at, address) in found.iter().filter_map(Tree::as_str).enumerate() {
            validate_address(address, family, &addresses.index(at), errors);
        }
        if let Some(why) = endpoint["nodeName"].as_str().and_then(name::dns1123_subdomain) {
            errors.push(FieldError::invalid(path.field("nodeName"), text(endpoint, "nodeName"), why));
        }
        if let Some(why) = endpoint["hostname"].as_str().and_then(name::dns1123_label) {
            errors.push(FieldError::invalid(path.field("hostname"), text(endpoint, "hostname"), why));
        }
    }
}

fn validate_address(address: &str, family: &str, path: &Path<'_>, errors: &mut Errors) {
    match (family, address.parse::<IpAddr>()) {
        ("IPv4", Ok(IpAddr::V4(_))) | ("IPv6", Ok(IpAddr::V6(_))) => endpoint_ip(address, path, errors),
        ("IPv4", _) => errors.push(FieldError::invalid(path, address, "must be an IPv4 address")),
        ("IPv6", _) => errors.push(FieldError::invalid(path, address, "must be an IPv6 address")),
        ("FQDN", _) => {
            if let Some(why) = name::dns1123_subdomain(address) {
                errors.push(FieldError::invalid(path, address, why));
            }
        }
        _ => {}
    }
}

fn validate_ports(ports: &[Tree], errors: &mut Errors) {
    let list = Path::root("ports");
    if ports.len() > MAX_PORTS {
        errors.push(FieldError::too_many(list, ports.len(), MAX_PORTS));
        return;
    }
    let mut seen = std::collections::BTreeSet::new();
    for (at, port) in ports.iter().enumerate() {
        let (path, port_name) = (list.index(at), text(port, "name"));
        if !seen.insert(port_name) {
            errors.push(FieldError::duplicate(path.field("name"), port_name));
        }
        if let Some(why) = Some(port_name).filter(|n| !n.is_empty()).and_then(name::dns1123_label) {
            errors.push(FieldError::invalid(path.field("name"), port_name, why));
        }
        if let Some(why) = port["port"].as_i64().and_then(name::port_number) {
            errors.push(FieldError::invalid(path.field("port"), port["port"].clone(), why));
        }
        enumeration(text(port, "protocol"), &["SCTP", "TCP", "UDP"], &path.field("protocol"), errors);
    }
}
