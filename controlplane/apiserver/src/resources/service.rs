//! Service: a stable address for changing pods. Allocation of addresses and ports is `registry/allocation.rs`.

use super::{Column, Facts, ResourceType, STATUS, age, column, name_cell, wide};
use crate::validate::{Errors, Path, copy_field, enumeration, int, items, items_mut, labels, text};
use coracle_proto::field::FieldError;
use coracle_proto::resource::SERVICES;
use coracle_proto::{Tree, meta, name};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::IpAddr;

pub struct Services;

static FACTS: Facts = Facts::new(SERVICES, "service", "services")
    .short_names(&["svc"])
    .categories(&["all"])
    .subresources(&[STATUS])
    .status()
    .fields(&["spec.clusterIP", "spec.type"])
    .create_on_update()
    .returns_deleted();

static COLUMNS: [Column; 7] = [
    column("Name", "string", "Name must be unique within a namespace."),
    column("Type", "string", "How the service is exposed."),
    column("Cluster-IP", "string", "The address inside the cluster."),
    column("External-IP", "string", "The address outside the cluster."),
    column("Port(s)", "string", "The ports the service serves."),
    column("Age", "string", "Time since creation."),
    wide("Selector", "string", "The labels of the pods behind the service."),
];

const SPEC: Path<'static> = Path::root("spec");
const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

/// Whether a service of this type has an address of its own.
pub fn has_cluster_ip(kind: &str) -> bool {
    matches!(kind, "ClusterIP" | "NodePort" | "LoadBalancer")
}

pub fn has_node_ports(spec: &Tree) -> bool {
    match text(spec, "type") {
        "NodePort" => true,
        "LoadBalancer" => spec["allocateLoadBalancerNodePorts"] != false,
        _ => false,
    }
}

impl ResourceType for Services {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn validate_name(&self, name: &str) -> Option<String> {
        name::dns1035_label(name)
    }

    fn set_defaults(&self, object: &mut Tree) {
        let Some(spec) = object.get_mut("spec").filter(|s| s.is_object()) else { return };
        for port in items_mut(spec, "ports").filter(|p| p.is_object()) {
            let unset = port["targetPort"].is_null() || port["targetPort"] == 0 || port["targetPort"] == "";
            if unset {
                port["targetPort"] = port["port"].clone();
            }
        }
        let kind = text(spec, "type").to_owned();
        let absent = |spec: &Tree, field: &str| spec[field].is_null();
        if matches!(kind.as_str(), "NodePort" | "LoadBalancer") && absent(spec, "externalTrafficPolicy") {
            spec["externalTrafficPolicy"] = "Cluster".into();
        }
        if has_cluster_ip(&kind) && absent(spec, "internalTrafficPolicy") {
            spec["internalTrafficPolicy"] = "Cluster".into();
        }
        if kind == "LoadBalancer" && absent(spec, "allocateLoadBalancerNodePorts") {
            spec["allocateLoadBalancerNodePorts"] = true.into();
        }
        if text(spec, "sessionAffinity") == "ClientIP"
            && spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].is_null()
        {
            spec["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": 10800}});
        }
        families(spec, &kind);
    }

    fn prepare_create(&self, object: &mut Tree) {
        object["status"] = json!({"loadBalancer": {}});
    }

    /// What an older client leaves out of a replacement stays as it was.
    fn prepare_update(&self, new: &mut Tree, old: &Tree) {
        copy_field(new, old, "status");
        let before = &old["spec"];
        let Some(spec) = new.get_mut("spec").filter(|s| s.is_object()) else { return };
        if !has_cluster_ip(text(spec, "type")) {
            for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
                if spec[field] == before[field] {
                    spec.as_object_mut().and_then(|s| s.remove(field));
                }
            }
            return;
        }
        if has_cluster_ip(text(before, "type")) {
            if text(spec, "clusterIP").is_empty() {
                copy_field(spec, before, "clusterIP");
                copy_field(spec, before, "clusterIPs");
            }
            if items(spec, "clusterIPs").is_empty() {
                spec["clusterIPs"] = json!([spec["clusterIP"]]);
            }
        }
        keep_node_ports(spec, before);
    }

    fn validate(&self, object: &Tree, errors: &mut Errors) {
        let spec = &object["spec"];
        let kind = text(spec, "type");
        enumeration(kind, &TYPES, &SPEC.field("type"), errors);
        let headless = text(spec, "clusterIP") == "None";
        let ports = items(spec, "ports");
        if ports.is_empty() && !headless && kind != "ExternalName" {
            errors.push(FieldError::required(SPEC.field("ports"), ""));
        }
        validate_ports(ports, kind, errors);
        labels(&spec["selector"], &SPEC.field("selector"), errors);
        enumeration(text(spec, "sessionAffinity"), &["ClientIP", "None"], &SPEC.field("sessionAffinity"), errors);
        match kind {
            "ExternalName" => external_name(spec, errors),
            "NodePort" | "LoadBalancer" if headless => {
                let why = format!("may not be set to 'None' for {kind} services");
                errors.push(FieldError::invalid(SPEC.field("clusterIPs").index(0), "None", why));
            }
            _ => {}
        }
        addresses(spec, errors);
        policies(spec, kind, errors);
    }

    fn validate_update(&self, new: &Tree, old: &Tree, errors: &mut Errors) {
        let (spec, before) = (&new["spec"], &old["spec"]);
        let keeps = has_cluster_ip(text(spec, "type")) && has_cluster_ip(text(before, "type"));
        if keeps && text(spec, "clusterIP") != text(before, "clusterIP") {
            let path = SPEC.field("clusterIPs");
            let why = "may not change once set";
            errors.push(FieldError::invalid(path.index(0), Value::from(vec![text(spec, "clusterIP")]), why));
        }
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Tree, now: Timestamp) -> Vec<Value> {
        let spec = &object["spec"];
        let ip = text(spec, "clusterIP");
        let selector = meta::strings(&spec["selector"]).iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>();
        vec![
            name_cell(object),
            text(spec, "type").into(),
            if ip.is_empty() { "<none>".into() } else { ip.into() },
            external_ip(object).into(),
            ports_cell(items(spec, "ports")).into(),
            age(object, now),
            if selector.is_empty() { "<none>".into() } else { selector.join(",").into() },
        ]
    }
}

/// One IPv4 family here; `clusterIP` and `clusterIPs` mirror each other.
fn families(spec: &mut Tree, kind: &str) {
    if !has_cluster_ip(kind) {
        return;
    }
    let first = items(spec, "clusterIPs").first().and_then(Tree::as_str).unwrap_or_default().to_owned();
    let ip = text(spec, "clusterIP").to_owned();
    if ip.is_empty() && !first.is_empty() {
        spec["clusterIP"] = first.into();
    } else if !ip.is_empty() && first.is_empty() {
        spec["clusterIPs"] = json!([ip]);
    }
    if spec["ipFamilyPolicy"].is_null() {
        spec["ipFamilyPolicy"] = "SingleStack".into();
    }
    if items(spec, "ipFamilies").is_empty() {
        spec["ipFamilies"] = json!(["IPv4"]);
    }
}

/// A replacement that names no node port keeps the one of the same port.
fn keep_node_ports(spec: &mut Tree, before: &Tree) {
    if !has_node_ports(spec) || !has_node_ports(before) {
        return;
    }
    let taken: BTreeSet<i64> = items(spec, "ports").iter().map(|p| int(p, "nodePort")).collect();
    for port in items_mut(spec, "ports").filter(|p| int(p, "nodePort") == 0) {
        let same = |b: &&Tree| text(b, "protocol") == text(port, "protocol") && int(b, "port") == int(port, "port");
        let kept = items(before, "ports").iter().find(same).map(|b| int(b, "nodePort"));
        if let Some(kept) = kept.filter(|n| *n != 0 && !taken.contains(n)) {
            port["nodePort"] = kept.into();
        }
    }
}

fn validate_ports(ports: &[Tree], kind: &str, errors: &mut Errors) {
    let list = SPEC.field("ports");
    let (mut names, mut numbers, mut node_ports) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (at, port) in ports.iter().enumerate() {
        let path = list.index(at);
        let (port_name, number, protocol) = (text(port, "name"), int(port, "port"), text(port, "protocol"));
        if port_name.is_empty() && ports.len() > 1 {
            errors.push(FieldError::required(path.field("name"), ""));
        } else if !port_name.is_empty() {
            if let Some(why) = name::dns1123_label(port_name) {
                errors.push(FieldError::invalid(path.field("name"), port_name, why));
            } else if !names.insert(port_name) {
                errors.push(FieldError::duplicate(path.field("name"), port_name));
            }
        }
        if let Some(why) = name::port_number(number) {
            errors.push(FieldError::invalid(path.field("port"), number, why));
        }
        enumeration(protocol, &["SCTP", "TCP", "UDP"], &path.field("protocol"), errors);
        target_port(&port["targetPort"], &path.field("targetPort"), errors);
        if !numbers.insert((protocol, number)) {
            let shown = json!({"port": number, "protocol": protocol});
            errors.push(FieldError::duplicate(path, shown));
        }
        let node_port = int(port, "nodePort");
        if node_port != 0 && !matches!(kind, "NodePort" | "LoadBalancer") {
            let why = format!("may not be used when `type` is '{kind}'");
            errors.push(FieldError::forbidden(path.field("nodePort"), why));
        } else if node_port != 0 && !node_ports.insert((protocol, node_port)) {
            errors.push(FieldError::duplicate(path.field("nodePort"), node_port));
        }
    }
}

fn target_port(port: &Tree, path: &Path<'_>, errors: &mut Errors) {
    let why = match port {
        Tree::String(named) => name::port_name(named),
        _ => name::port_number(port.as_i64().unwrap_or_default()),
    };
    if let Some(why) = why {
        errors.push(FieldError::invalid(path, port.clone(), why));
    }
}

fn external_name(spec: &Tree, errors: &mut Errors) {
    let path = SPEC.field("externalName");
    let external = text(spec, "externalName");
    if !text(spec, "clusterIP").is_empty() {
        let why = "may not be set for ExternalName services";
        errors.push(FieldError::forbidden(SPEC.field("clusterIPs"), why));
    }
    let bare = external.strip_suffix('.').unwrap_or(external);
    if bare.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if let Some(why) = name::dns1123_subdomain(bare) {
        errors.push(FieldError::invalid(path, external, why));
    }
}

fn addresses(spec: &Tree, errors: &mut Errors) {
    let list = SPEC.field("clusterIPs");
    for (at, ip) in items(spec, "clusterIPs").iter().filter_map(Tree::as_str).enumerate() {
        let path = list.index(at);
        if at == 0 && ip != text(spec, "clusterIP") {
            errors.push(FieldError::invalid(list, spec["clusterIPs"].clone(), "first value must match `clusterIP`"));
        }
        if at > 0 {
            errors.push(FieldError::invalid(path, ip, "this cluster has one address family"));
        } else if ip != "None" && ip.parse::<IpAddr>().is_err() {
            errors.push(FieldError::invalid(path, ip, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
        }
    }
    let families = SPEC.field("ipFamilies");
    for (at, family) in items(spec, "ipFamilies").iter().filter_map(Tree::as_str).enumerate() {
        if family != "IPv4" && at == 0 {
            errors.push(FieldError::invalid(families.index(at), family, "not configured on this cluster"));
        }
    }
    let external = SPEC.field("externalIPs");
    for (at, ip) in items(spec, "externalIPs").iter().filter_map(Tree::as_str).enumerate() {
        if ip.parse::<IpAddr>().is_err() {
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(FieldError::invalid(external.index(at), ip, why));
        }
    }
}

fn policies(spec: &Tree, kind: &str, errors: &mut Errors) {
    if let Some(policy) = spec["externalTrafficPolicy"].as_str() {
        let path = SPEC.field("externalTrafficPolicy");
        if !matches!(kind, "NodePort" | "LoadBalancer") && items(spec, "externalIPs").is_empty() {
            let why = "may only be set for externally-accessible services";
            errors.push(FieldError::invalid(path, policy, why));
        } else {
            enumeration(policy, &["Cluster", "Local"], &path, errors);
        }
    }
    if let Some(policy) = spec["internalTrafficPolicy"].as_str() {
        enumeration(policy, &["Cluster", "Local"], &SPEC.field("internalTrafficPolicy"), errors);
    }
    if let Some(policy) = spec["ipFamilyPolicy"].as_str() {
        let known = ["PreferDualStack", "RequireDualStack", "SingleStack"];
        enumeration(policy, &known, &SPEC.field("ipFamilyPolicy"), errors);
        if policy == "RequireDualStack" {
            let why = "this cluster is not configured for dual-stack services";
            errors.push(FieldError::invalid(SPEC.field("ipFamilyPolicy").to_string(), policy, why));
        }
    }
}

fn external_ip(service: &Tree) -> String {
    let spec = &service["spec"];
    let external: Vec<&str> = items(spec, "externalIPs").iter().filter_map(Tree::as_str).collect();
    match text(spec, "type") {
        "ExternalName" => text(spec, "externalName").into(),
        "LoadBalancer" => {
            let ingress = items(&service["status"]["loadBalancer"], "ingress").iter();
            let mut found: Vec<&str> = ingress
                .map(|i| if text(i, "ip").is_empty() { text(i, "hostname") } else { text(i, "ip") })
                .chain(external.iter().copied())
                .collect();
            found.sort_unstable();
            found.dedup();
            if found.is_empty() { "<pending>".into() } else { found.join(",") }
        }
        _ if external.is_empty() => "<none>".into(),
        _ => external.join(","),
    }
}

fn ports_cell(ports: &[Tree]) -> String {
    let one = |port: &Tree| match int(port, "nodePort") {
        0 => format!("{}/{}", int(port, "port"), text(port, "protocol")),
        node => format!("{}:{node}/{}", int(port, "port"), text(port, "protocol")),
    };
    if ports.is_empty() { "<none>".into() } else { ports.iter().map(one).collect::<Vec<_>>().join(",") }
}
