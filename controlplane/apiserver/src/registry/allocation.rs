//! Cluster IPs and node ports of Services, claimed in the same transaction as the Service itself.

use super::{Registry, commit, keys};
use crate::limits::RANDOM_ALLOCATION_TRIES;
use crate::resources::ResourceType;
use crate::resources::service::{has_cluster_ip, has_node_ports};
use crate::validate::{Errors, Path, int, items, items_mut, text};
use coracle_proto::field::FieldError;
use coracle_proto::{ObjectKey, Tree};
use coracle_store::{Op, View};
use ipnet::Ipv4Net;
use rand::Rng;
use serde_json::json;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

const SPEC: Path<'static> = Path::root("spec");

impl Registry {
    /// Gives `new` what it lacks, and the ops that claim it and free what it no longer has.
    pub(super) fn allocate(
        &self,
        kind: &dyn ResourceType,
        new: &mut Tree,
        old: Option<&Tree>,
        view: &dyn View,
        ops: &mut Vec<Op>,
        errors: &mut Errors,
    ) {
        if kind.facts().storage != "services" {
            return;
        }
        let owner = ObjectKey::of(new).to_string();
        let (ip_before, ports_before) = old.map(held).unwrap_or_default();
        if has_cluster_ip(text(&new["spec"], "type")) {
            self.cluster_ip(new, &ip_before, view, errors);
        }
        if has_node_ports(&new["spec"]) {
            self.node_ports(new, &ports_before, view, errors);
        }
        let (ip_after, ports_after) = held(new);
        ops.extend(ip_after.difference(&ip_before).map(|ip| commit::claim(keys::cluster_ip(ip), &owner)));
        ops.extend(ip_before.difference(&ip_after).map(|ip| commit::release(keys::cluster_ip(ip))));
        ops.extend(ports_after.difference(&ports_before).map(|(p, n)| commit::claim(keys::node_port(p, *n), &owner)));
        ops.extend(ports_before.difference(&ports_after).map(|(p, n)| commit::release(keys::node_port(p, *n))));
    }

    fn cluster_ip(&self, new: &mut Tree, before: &BTreeSet<String>, view: &dyn View, errors: &mut Errors) {
        let asked = text(&new["spec"], "clusterIP").to_owned();
        if asked == "None" || before.contains(&asked) {
            return;
        }
        let path = SPEC.field("clusterIPs");
        let refused =
            |why: String| FieldError::invalid(path, json!([asked]), format!("failed to allocate IP {asked}: {why}"));
        let range = self.config.service_range;
        if asked.is_empty() {
            match free_address(range, view) {
                Some(ip) => {
                    new["spec"]["clusterIP"] = ip.to_string().into();
                    new["spec"]["clusterIPs"] = json!([ip.to_string()]);
                }
                None => {
                    errors.push(FieldError::invalid(path, json!([]), "failed to allocate a serviceIP: range is full"))
                }
            }
        } else if !asked.parse::<Ipv4Addr>().is_ok_and(|ip| usable(range, ip)) {
            let why = format!("the provided IP ({asked}) is not in the valid range. The range of valid IPs is {range}");
            errors.push(refused(why));
        } else if view.get(&keys::cluster_ip(&asked)).is_some() {
            errors.push(refused("provided IP is already allocated".into()));
        }
    }

    fn node_ports(&self, new: &mut Tree, before: &BTreeSet<(String, i64)>, view: &dyn View, errors: &mut Errors) {
        let range = &self.config.node_ports;
        let (low, high) = (i64::from(*range.start()), i64::from(*range.end()));
        let mut taken: BTreeSet<(String, i64)> = held(new).1;
        let list = SPEC.field("ports");
        for (at, port) in items_mut(&mut new["spec"], "ports").enumerate() {
            let protocol = text(port, "protocol").to_owned();
            let asked = int(port, "nodePort");
            let path = list.index(at);
            let path = path.field("nodePort");
            if asked == 0 {
                // One number for both protocols where a service has a port in both, as upstream gives it.
                let free = |n: i64| {
                    !taken.contains(&(protocol.clone(), n)) && view.get(&keys::node_port(&protocol, n)).is_none()
                };
                match free_port(low, high, free) {
                    Some(found) => {
                        port["nodePort"] = found.into();
                        taken.insert((protocol, found));
                    }
                    None => errors.push(FieldError::invalid(path, 0, "failed to allocate a nodePort: range is full")),
                }
            } else if before.contains(&(protocol.clone(), asked)) {
            } else if !(low..=high).contains(&asked) {
                let why = format!("provided port is not in the valid range. The range of valid ports is {low}-{high}");
                errors.push(FieldError::invalid(path, asked, why));
            } else if view.get(&keys::node_port(&protocol, asked)).is_some() {
                errors.push(FieldError::invalid(path, asked, "provided port is already allocated"));
            }
        }
    }
}

/// What a Service holds: addresses, and ports by protocol.
fn held(service: &Tree) -> (BTreeSet<String>, BTreeSet<(String, i64)>) {
    let spec = &service["spec"];
    let ip = text(spec, "clusterIP");
    let has = has_cluster_ip(text(spec, "type")) && !ip.is_empty() && ip != "None";
    let ips = if has { BTreeSet::from([ip.to_owned()]) } else { BTreeSet::new() };
    let ports = items(spec, "ports").iter().filter(|p| int(p, "nodePort") != 0);
    let ports = ports.map(|p| (text(p, "protocol").to_owned(), int(p, "nodePort")));
    (ips, ports.collect())
}

/// The ops that free everything an object about to be removed holds.
pub(super) fn release_all(kind: &dyn ResourceType, object: &Tree) -> Vec<Op> {
    if kind.facts().storage != "services" {
        return Vec::new();
    }
    let (ips, ports) = held(object);
    let ips = ips.iter().map(|ip| commit::release(keys::cluster_ip(ip)));
    let ports = ports.iter().map(|(protocol, n)| commit::release(keys::node_port(protocol, *n)));
    ips.chain(ports).collect()
}

/// Neither the network's own address nor the last one.
fn usable(range: Ipv4Net, ip: Ipv4Addr) -> bool {
    range.contains(&ip) && ip != range.network() && ip != range.broadcast()
}

/// Random from the upper part, which leaves the lower to those who ask for an address; then whatever is free.
fn free_address(range: Ipv4Net, view: &dyn View) -> Option<Ipv4Addr> {
    let (first, last) = (u32::from(range.network()) + 1, u32::from(range.broadcast()).checked_sub(1)?);
    let reserved = ((last - first + 1) / 16).clamp(16, 256).min(last - first);
    let free = |n: &u32| view.get(&keys::cluster_ip(&Ipv4Addr::from(*n).to_string())).is_none();
    let mut rng = rand::rng();
    let mut random = (0..RANDOM_ALLOCATION_TRIES).map(|_| rng.random_range(first + reserved..=last));
    random
        .find(free)
        .or_else(|| (first + reserved..=last).chain(first..first + reserved).find(free))
        .map(Ipv4Addr::from)
}

fn free_port(low: i64, high: i64, free: impl Fn(i64) -> bool) -> Option<i64> {
    let mut rng = rand::rng();
    let mut random = (0..RANDOM_ALLOCATION_TRIES).map(|_| rng.random_range(low..=high));
    random.find(|n| free(*n)).or_else(|| (low..=high).find(|n| free(*n)))
}
