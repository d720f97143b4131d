//! Spreads endpoints over EndpointSlices with as few writes as possible. Pure.

use super::facts::Port;
use crate::limits::ENDPOINTS_PER_SLICE;
use crate::meaning;
use coracle_proto::resource::ENDPOINT_SLICES;
use coracle_proto::{Tree, meta};
use serde_json::{Map, Value, json};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Names the Service on its slices.
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Names the controller on its slices.
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) create: Vec<Tree>,
    pub(super) update: Vec<Tree>,
    pub(super) delete: Vec<Tree>,
}

/// Endpoints that may share a slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Group {
    pub(super) address_type: &'static str,
    /// Sorted.
    pub(super) ports: Vec<Port>,
}

/// Endpoints by what they are known by.
pub(super) type Desired = BTreeMap<Group, BTreeMap<Arc<str>, Tree>>;

/// What all slices of one object have in common.
pub(super) struct Dress {
    /// Of the owner; slices are called after it.
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) labels: Map<String, Value>,
    /// The owner reference.
    pub(super) owner: Tree,
}

/// `existing` are the slices that are there; `known_by` tells what an endpoint in them is known by.
pub(super) fn plan(dress: &Dress, desired: Desired, existing: Vec<Tree>, known_by: fn(&Tree) -> Option<&str>) -> Plan {
    let mut plan = Plan::default();
    let mut slices: BTreeMap<Group, Vec<Tree>> = BTreeMap::new();
    for slice in existing {
        match group_of(&slice).filter(|group| desired.contains_key(group)) {
            Some(group) => slices.entry(group).or_default().push(slice),
            None => plan.delete.push(slice),
        }
    }
    for (group, endpoints) in desired {
        let kept = keep(slices.remove(&group).unwrap_or_default(), endpoints, known_by);
        settle(dress, &group, kept, &mut plan);
    }
    reuse(&mut plan);
    plan
}

/// `None` if the slice is of no form these controllers write.
fn group_of(slice: &Tree) -> Option<Group> {
    let address_type = match slice["addressType"].as_str()? {
        "IPv4" => "IPv4",
        "IPv6" => "IPv6",
        _ => return None,
    };
    let port = |tree: &Tree| {
        Some(Port {
            name: tree["name"].as_str().unwrap_or_default().into(),
            protocol: tree["protocol"].as_str().unwrap_or("TCP").into(),
            port: tree["port"].as_u64()?.try_into().ok()?,
            app_protocol: tree["appProtocol"].as_str().map(Into::into),
        })
    };
    let ports: Option<Vec<Port>> = slice["ports"].as_array().into_iter().flatten().map(port).collect();
    let mut ports = ports?;
    ports.sort();
    Some(Group { address_type, ports })
}

struct Kept {
    slices: Vec<(Tree, Vec<Tree>, bool)>,
    /// Endpoints that found no room.
    rest: Vec<Tree>,
}

/// Leaves endpoints where they are, then fills slices that change anyway, then others with room.
fn keep(slices: Vec<Tree>, mut missing: BTreeMap<Arc<str>, Tree>, known_by: fn(&Tree) -> Option<&str>) -> Kept {
    let mut kept: Vec<(Tree, Vec<Tree>, bool)> = Vec::with_capacity(slices.len());
    for slice in slices {
        let found = slice["endpoints"].as_array().map(Vec::as_slice).unwrap_or_default();
        let wanted: Vec<Tree> = found.iter().filter_map(|e| missing.remove(known_by(e)?)).collect();
        let same = wanted.len() == found.len() && wanted.iter().zip(found).all(|(a, b)| meaning::same(a, b));
        kept.push((slice, wanted, !same));
    }
    // Those to be written come first; among equals the fullest, so that slices fill up.
    kept.sort_by_key(|(_, endpoints, changed)| (!changed, Reverse(endpoints.len())));
    let mut missing = missing.into_values();
    for (_, endpoints, changed) in &mut kept {
        let (before, room) = (endpoints.len(), ENDPOINTS_PER_SLICE.saturating_sub(endpoints.len()));
        endpoints.extend(missing.by_ref().take(room));
        *changed |= endpoints.len() > before;
    }
    Kept { slices: kept, rest: missing.collect() }
}

/// Turns what is kept, and what is left over, into writes. Without any endpoint one empty slice stays or is made.
fn settle(dress: &Dress, group: &Group, kept: Kept, plan: &mut Plan) {
    let Kept { slices, mut rest } = kept;
    let empty = slices.iter().all(|(_, endpoints, _)| endpoints.is_empty()) && rest.is_empty();
    let mut any = false;
    for (slice, endpoints, changed) in slices {
        if endpoints.is_empty() && (!empty || any) {
            plan.delete.push(slice);
            continue;
        }
        any = true;
        let dressed = dressed(dress, slice.clone(), group, endpoints);
        if changed || !meaning::same(&dressed, &slice) {
            plan.update.push(dressed);
        }
    }
    while !rest.is_empty() || !any {
        let tail = rest.split_off(rest.len().min(ENDPOINTS_PER_SLICE));
        let endpoints = std::mem::replace(&mut rest, tail);
        let new = json!({
            "apiVersion": ENDPOINT_SLICES.api_version(), "kind": ENDPOINT_SLICES.kind, "addressType": group.address_type,
            "metadata": {"generateName": format!("{}-", dress.name), "namespace": dress.namespace},
        });
        plan.create.push(dressed(dress, new, group, endpoints));
        any = true;
    }
}

/// The slice with everything that comes from its owner, its ports and these endpoints.
fn dressed(dress: &Dress, mut slice: Tree, group: &Group, endpoints: Vec<Tree>) -> Tree {
    let metadata = meta::metadata_mut(&mut slice);
    metadata.insert("labels".into(), dress.labels.clone().into());
    metadata.insert("ownerReferences".into(), json!([dress.owner]));
    slice["ports"] = group.ports.iter().map(port_tree).collect();
    slice["endpoints"] = endpoints.into();
    slice
}

fn port_tree(port: &Port) -> Tree {
    let mut tree = json!({"name": port.name, "protocol": port.protocol, "port": port.port});
    if let Some(app_protocol) = &port.app_protocol {
        tree["appProtocol"] = (**app_protocol).into();
    }
    tree
}

/// Writes a slice anew instead of deleting it and making another: readers then never see neither.
fn reuse(plan: &mut Plan) {
    let mut spare: HashMap<String, Vec<Tree>> = HashMap::new();
    for slice in std::mem::take(&mut plan.delete) {
        spare.entry(slice["addressType"].to_string()).or_default().push(slice);
    }
    for mut new in std::mem::take(&mut plan.create) {
        match spare.get_mut(&new["addressType"].to_string()).and_then(Vec::pop) {
            Some(old) => {
                let mut metadata = old["metadata"].clone();
                for field in ["labels", "ownerReferences"] {
                    metadata[field] = new["metadata"][field].clone();
                }
                new["metadata"] = metadata;
                plan.update.push(new);
            }
            None => plan.create.push(new),
        }
    }
    plan.delete = spare.into_values().flatten().collect();
}
