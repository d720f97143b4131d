//! Endpoints: the addresses behind a Service, in the older form.

use super::{Column, Facts, ResourceType, age, column, name_cell};
use crate::validate::{Errors, Path, enumeration, int, items, text};
use coracle_proto::field::FieldError;
use coracle_proto::resource::ENDPOINTS;
use coracle_proto::{Tree, name};
use jiff::Timestamp;
use serde_json::Value;
use std::net::IpAddr;

pub struct Endpoints;

static FACTS: Facts = Facts::new(ENDPOINTS, "endpoints", "endpoints").short_names(&["ep"]).create_on_update();

static COLUMNS: [Column; 3] = [
    column("Name", "string", "Name must be unique within a namespace."),
    column("Endpoints", "string", "Addresses and ports that are ready."),
    column("Age", "string", "Time since creation."),
];

/// How many endpoints a cell shows.
const SHOWN: usize = 3;

impl ResourceType for Endpoints {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn validate(&self, object: &Tree, errors: &mut Errors) {
        let list = Path::root("subsets");
        for (at, subset) in items(object, "subsets").iter().enumerate() {
            validate_subset(subset, &list.index(at), errors);
        }
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Tree, now: Timestamp) -> Vec<Value> {
        vec![name_cell(object), endpoints_cell(object).into(), age(object, now)]
    }
}

fn validate_subset(subset: &Tree, path: &Path<'_>, errors: &mut Errors) {
    let (addresses, waiting) = (items(subset, "addresses"), items(subset, "notReadyAddresses"));
    if addresses.is_empty() && waiting.is_empty() {
        errors.push(FieldError::required(path, "must specify `addresses` or `notReadyAddresses`"));
    }
    for (field, list) in [("addresses", addresses), ("notReadyAddresses", waiting)] {
        let parent = path.field(field);
        for (at, address) in list.iter().enumerate() {
            endpoint_ip(text(address, "ip"), &parent.index(at).field("ip"), errors);
        }
    }
    let ports = path.field("ports");
    for (at, port) in items(subset, "ports").iter().enumerate() {
        let path = ports.index(at);
        let port_name = text(port, "name");
        if items(subset, "ports").len() > 1 && port_name.is_empty() {
            errors.push(FieldError::required(path.field("name"), ""));
        } else if let Some(why) = Some(port_name).filter(|n| !n.is_empty()).and_then(name::dns1123_label) {
            errors.push(FieldError::invalid(path.field("name"), port_name, why));
        }
        if let Some(why) = name::port_number(int(port, "port")) {
            errors.push(FieldError::invalid(path.field("port"), int(port, "port"), why));
        }
        enumeration(text(port, "protocol"), &["SCTP", "TCP", "UDP"], &path.field("protocol"), errors);
    }
}

/// Endpoints may not point at the node itself or at many hosts.
pub(super) fn endpoint_ip(ip: &str, path: &Path<'_>, errors: &mut Errors) {
    let Ok(parsed) = ip.parse::<IpAddr>() else {
        errors.push(FieldError::invalid(path, ip, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
        return;
    };
    let link_local = match parsed {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let why = if parsed.is_unspecified() {
        format!("may not be unspecified ({})", if parsed.is_ipv4() { "0.0.0.0" } else { "::" })
    } else if parsed.is_loopback() {
        format!(
            "may not be in the loopback range ({})",
            if parsed.is_ipv4() { "127.0.0.0/8, ::1/128" } else { "::1/128" }
        )
    } else if link_local {
        "may not be in the link-local range (169.254.0.0/16, fe80::/10)".into()
    } else if parsed.is_multicast() {
        "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".into()
    } else {
        return;
    };
    errors.push(FieldError::invalid(path, ip, why));
}

fn endpoints_cell(object: &Tree) -> String {
    let (mut shown, mut total) = (Vec::new(), 0);
    for subset in items(object, "subsets") {
        let ports = items(subset, "ports");
        for address in items(subset, "addresses") {
            let ip = text(address, "ip");
            let each: Vec<String> = if ports.is_empty() {
                vec![ip.to_owned()]
            } else {
                ports.iter().map(|p| format!("{ip}:{}", int(p, "port"))).collect()
            };
            total += each.len();
            shown.extend(each.into_iter().take(SHOWN.saturating_sub(shown.len())));
        }
    }
    if total == 0 {
        return "<none>".into();
    }
    let more = if total > SHOWN { format!(" + {} more...", total - SHOWN) } else { String::new() };
    shown.join(",") + &more
}
