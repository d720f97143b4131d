//! Containers of all three sorts.

use super::{env, probe, quantities, security};
use crate::validate::{Errors, Path, enumeration, int, items, text};
use coracle_proto::field::FieldError;
use coracle_proto::{Tree, name};
use std::collections::BTreeSet;

/// Which list a container stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Regular,
    Init,
    Ephemeral,
}

/// All containers of `spec`; `volumes` are the names they may mount.
pub fn validate_all(spec: &Tree, volumes: &BTreeSet<&str>, path: &Path<'_>, errors: &mut Errors) {
    let containers = path.field("containers");
    if items(spec, "containers").is_empty() {
        errors.push(FieldError::required(containers, ""));
    }
    let mut names = BTreeSet::new();
    let mut host_ports = BTreeSet::new();
    let host_network = spec["hostNetwork"] == true;
    let lists =
        [("containers", Sort::Regular), ("initContainers", Sort::Init), ("ephemeralContainers", Sort::Ephemeral)];
    for (field, sort) in lists {
        let list = path.field(field);
        for (at, container) in items(spec, field).iter().enumerate() {
            let path = list.index(at);
            validate(container, sort, volumes, &path, errors);
            container_name(text(container, "name"), &mut names, &path.field("name"), errors);
            if sort == Sort::Regular {
                let ports = path.field("ports");
                host_port_rules(items(container, "ports"), host_network, &mut host_ports, &ports, errors);
            }
        }
    }
}

fn container_name<'a>(found: &'a str, seen: &mut BTreeSet<&'a str>, path: &Path<'_>, errors: &mut Errors) {
    if found.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if let Some(why) = name::dns1123_label(found) {
        errors.push(FieldError::invalid(path, found, why));
    } else if !seen.insert(found) {
        errors.push(FieldError::duplicate(path, found));
    }
}

fn validate(container: &Tree, sort: Sort, volumes: &BTreeSet<&str>, path: &Path<'_>, errors: &mut Errors) {
    let image = text(container, "image");
    if image.is_empty() {
        errors.push(FieldError::required(path.field("image"), ""));
    } else if image.trim() != image {
        let why = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(path.field("image"), image, why));
    }
    let policies = ["Always", "IfNotPresent", "Never"];
    enumeration(text(container, "imagePullPolicy"), &policies, &path.field("imagePullPolicy"), errors);
    let policy = text(container, "terminationMessagePolicy");
    if !policy.is_empty() {
        let path = path.field("terminationMessagePolicy");
        enumeration(policy, &["FallbackToLogsOnError", "File"], &path, errors);
    }
    let restart = container["restartPolicy"].as_str();
    let sidecar = sort == Sort::Init && restart == Some("Always");
    if let Some(restart) = restart.filter(|_| !sidecar) {
        let path = path.field("restartPolicy");
        if sort == Sort::Init {
            errors.push(FieldError::not_supported(path, restart, &["Always"]));
        } else {
            errors.push(FieldError::forbidden(path, "may not be set for non-init containers"));
        }
    }
    ports(items(container, "ports"), &path.field("ports"), errors);
    env::validate(items(container, "env"), &path.field("env"), errors);
    env::validate_from(items(container, "envFrom"), &path.field("envFrom"), errors);
    mounts(items(container, "volumeMounts"), volumes, &path.field("volumeMounts"), errors);
    quantities::validate(&container["resources"], &path.field("resources"), errors);
    security::validate_container(&container["securityContext"], &path.field("securityContext"), errors);
    if sort == Sort::Regular || sidecar {
        probe::validate_all(container, path, errors);
    } else {
        hooks_forbidden(container, sort, path, errors);
    }
}

fn hooks_forbidden(container: &Tree, sort: Sort, path: &Path<'_>, errors: &mut Errors) {
    let why = match sort {
        Sort::Ephemeral => "cannot be set for an Ephemeral Container",
        _ => "may not be set for init containers without restartPolicy=Always",
    };
    for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if !container[field].is_null() {
            errors.push(FieldError::forbidden(path.field(field), why));
        }
    }
}

fn ports(ports: &[Tree], list: &Path<'_>, errors: &mut Errors) {
    let mut names = BTreeSet::new();
    for (at, port) in ports.iter().enumerate() {
        let path = list.index(at);
        let port_name = text(port, "name");
        if !port_name.is_empty() {
            if let Some(why) = name::port_name(port_name) {
                errors.push(FieldError::invalid(path.field("name"), port_name, why));
            } else if !names.insert(port_name) {
                errors.push(FieldError::duplicate(path.field("name"), port_name));
            }
        }
        let (number, host) = (int(port, "containerPort"), int(port, "hostPort"));
        if number == 0 {
            errors.push(FieldError::required(path.field("containerPort"), ""));
        } else if let Some(why) = name::port_number(number) {
            errors.push(FieldError::invalid(path.field("containerPort"), number, why));
        }
        if let Some(why) = Some(host).filter(|h| *h != 0).and_then(name::port_number) {
            errors.push(FieldError::invalid(path.field("hostPort"), host, why));
        }
        match text(port, "protocol") {
            "" => errors.push(FieldError::required(path.field("protocol"), "")),
            found => enumeration(found, &["SCTP", "TCP", "UDP"], &path.field("protocol"), errors),
        }
    }
}

fn host_port_rules(
    ports: &[Tree],
    host_network: bool,
    seen: &mut BTreeSet<String>,
    list: &Path<'_>,
    errors: &mut Errors,
) {
    for (at, port) in ports.iter().enumerate() {
        let host = int(port, "hostPort");
        let path = list.index(at);
        if host_network && host != int(port, "containerPort") {
            let why = "must match `hostPort` when `hostNetwork` is true";
            errors.push(FieldError::invalid(path.field("containerPort"), int(port, "containerPort"), why));
        }
        if host == 0 {
            continue;
        }
        let claim = format!("{}/{}/{host}", text(port, "protocol"), text(port, "hostIP"));
        if !seen.insert(claim.clone()) {
            errors.push(FieldError::duplicate(path.field("hostPort"), claim));
        }
    }
}

fn mounts(mounts: &[Tree], volumes: &BTreeSet<&str>, list: &Path<'_>, errors: &mut Errors) {
    let mut points = BTreeSet::new();
    for (at, mount) in mounts.iter().enumerate() {
        let path = list.index(at);
        let (volume, point) = (text(mount, "name"), text(mount, "mountPath"));
        if volume.is_empty() {
            errors.push(FieldError::required(path.field("name"), ""));
        } else if !volumes.contains(volume) {
            errors.push(FieldError::not_found(path.field("name"), volume));
        }
        if point.is_empty() {
            errors.push(FieldError::required(path.field("mountPath"), ""));
        } else if !points.insert(point) {
            errors.push(FieldError::invalid(path.field("mountPath"), point, "must be unique"));
        }
        let (sub, expr) = (text(mount, "subPath"), text(mount, "subPathExpr"));
        relative_path(sub, &path.field("subPath"), errors);
        relative_path(expr, &path.field("subPathExpr"), errors);
        if !sub.is_empty() && !expr.is_empty() {
            errors.push(FieldError::invalid(
                path.field("subPathExpr"),
                expr,
                "subPathExpr and subPath are mutually exclusive",
            ));
        }
        if let Some(mode) = mount["mountPropagation"].as_str() {
            let path = path.field("mountPropagation");
            enumeration(mode, &["Bidirectional", "HostToContainer", "None"], &path, errors);
        }
    }
}

/// A path inside a volume: relative, never up.
pub(super) fn relative_path(value: &str, path: &Path<'_>, errors: &mut Errors) {
    if value.starts_with('/') {
        errors.push(FieldError::invalid(path, value, "must be a relative path"));
    }
    if value.split('/').any(|step| step == "..") {
        errors.push(FieldError::invalid(path, value, "must not contain '..'"));
    }
}
