//! A pod's spec as a whole: what belongs to no single container.

use super::{container, scheduling, security, volume};
use crate::validate::{Errors, Path, enumeration, items, labels, non_negative, optional_int, text};
use coracle_proto::field::FieldError;
use coracle_proto::{Tree, name};
use std::net::IpAddr;

const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;

/// `path` is `spec` or `spec.template.spec`.
pub fn validate_spec(spec: &Tree, path: &Path<'_>, errors: &mut Errors) {
    if spec.is_null() {
        // Everything else has a default, which only a spec that is there was given.
        return errors.push(FieldError::required(path.field("containers"), ""));
    }
    let volumes = volume::validate(items(spec, "volumes"), &path.field("volumes"), errors);
    container::validate_all(spec, &volumes, path, errors);
    enumeration(text(spec, "restartPolicy"), &["Always", "Never", "OnFailure"], &path.field("restartPolicy"), errors);
    dns(spec, path, errors);
    labels(&spec["nodeSelector"], &path.field("nodeSelector"), errors);
    security::validate_pod(spec, path, errors);
    scheduling::tolerations(items(spec, "tolerations"), &path.field("tolerations"), errors);
    scheduling::affinity(&spec["affinity"], &path.field("affinity"), errors);
    let constraints = path.field("topologySpreadConstraints");
    scheduling::topology_spread(items(spec, "topologySpreadConstraints"), &constraints, errors);
    names(spec, path, errors);
    seconds(spec, path, errors);
    host_aliases(items(spec, "hostAliases"), &path.field("hostAliases"), errors);
}

fn names(spec: &Tree, path: &Path<'_>, errors: &mut Errors) {
    type Rule = fn(&str) -> Option<String>;
    let rules: [(&str, Rule); 5] = [
        ("serviceAccountName", name::dns1123_subdomain),
        ("nodeName", name::dns1123_subdomain),
        ("hostname", name::dns1123_label),
        ("subdomain", name::dns1123_label),
        ("priorityClassName", name::dns1123_subdomain),
    ];
    for (field, rule) in rules {
        let value = text(spec, field);
        if let Some(why) = Some(value).filter(|v| !v.is_empty()).and_then(rule) {
            errors.push(FieldError::invalid(path.field(field), value, why));
        }
    }
    let secrets = path.field("imagePullSecrets");
    for (at, secret) in items(spec, "imagePullSecrets").iter().enumerate() {
        if text(secret, "name").is_empty() {
            errors.push(FieldError::required(secrets.index(at).field("name"), ""));
        }
    }
    let gates = path.field("readinessGates");
    for (at, gate) in items(spec, "readinessGates").iter().enumerate() {
        if let Some(why) = name::qualified_name(text(gate, "conditionType")) {
            let path = gates.index(at);
            errors.push(FieldError::invalid(path.field("conditionType"), text(gate, "conditionType"), why));
        }
    }
}

fn seconds(spec: &Tree, path: &Path<'_>, errors: &mut Errors) {
    let deadline = optional_int(spec, "activeDeadlineSeconds");
    if let Some(deadline) = deadline.filter(|d| !(1..=i64::from(i32::MAX)).contains(d)) {
        let why = "must be between 1 and 2147483647, inclusive";
        errors.push(FieldError::invalid(path.field("activeDeadlineSeconds"), deadline, why));
    }
    let grace = path.field("terminationGracePeriodSeconds");
    non_negative(optional_int(spec, "terminationGracePeriodSeconds"), &grace, errors);
}

fn dns(spec: &Tree, path: &Path<'_>, errors: &mut Errors) {
    let policy = text(spec, "dnsPolicy");
    let known = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    enumeration(policy, &known, &path.field("dnsPolicy"), errors);
    let (config, path) = (&spec["dnsConfig"], path.field("dnsConfig"));
    let servers = items(config, "nameservers");
    let list = path.field("nameservers");
    if policy == "None" && config.is_null() {
        let why = "must provide `dnsConfig` when `dnsPolicy` is None";
        errors.push(FieldError::required(path, why));
    } else if policy == "None" && servers.is_empty() {
        let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        errors.push(FieldError::required(list, why));
    }
    if servers.len() > MAX_NAMESERVERS {
        let why = format!("must not have more than {MAX_NAMESERVERS} nameservers");
        errors.push(FieldError::invalid(list, config["nameservers"].clone(), why));
    }
    for (at, server) in servers.iter().filter_map(Tree::as_str).enumerate() {
        if server.parse::<IpAddr>().is_err() {
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(FieldError::invalid(list.index(at), server, why));
        }
    }
    let searches = path.field("searches");
    if items(config, "searches").len() > MAX_SEARCHES {
        let why = format!("must not have more than {MAX_SEARCHES} search paths");
        errors.push(FieldError::invalid(searches, config["searches"].clone(), why));
    }
    for (at, search) in items(config, "searches").iter().filter_map(Tree::as_str).enumerate() {
        let bare = search.strip_suffix('.').unwrap_or(search);
        if let Some(why) = Some(bare).filter(|b| !b.is_empty()).and_then(name::dns1123_subdomain) {
            errors.push(FieldError::invalid(searches.index(at), search, why));
        }
    }
    let options = path.field("options");
    for (at, option) in items(config, "options").iter().enumerate() {
        if text(option, "name").is_empty() {
            errors.push(FieldError::required(options.index(at), "must not be empty"));
        }
    }
}

fn host_aliases(aliases: &[Tree], list: &Path<'_>, errors: &mut Errors) {
    for (at, alias) in aliases.iter().enumerate() {
        let path = list.index(at);
        if text(alias, "ip").parse::<IpAddr>().is_err() {
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(FieldError::invalid(path.field("ip"), text(alias, "ip"), why));
        }
        for host in items(alias, "hostnames").iter().filter_map(Tree::as_str) {
            if let Some(why) = name::dns1123_subdomain(host) {
                errors.push(FieldError::invalid(path.field("hostnames"), host, why));
            }
        }
    }
}
