//! Security contexts, and the namespaces a pod shares with its host.

use crate::validate::{Errors, Path, enumeration, items, text};
use coracle_proto::Tree;
use coracle_proto::field::FieldError;

/// Of the whole pod.
pub fn validate_pod(spec: &Tree, path: &Path<'_>, errors: &mut Errors) {
    let (context, at) = (&spec["securityContext"], path.field("securityContext"));
    ids(context, &["runAsUser", "runAsGroup", "fsGroup"], &at, errors);
    let groups = at.field("supplementalGroups");
    for (index, group) in items(context, "supplementalGroups").iter().enumerate() {
        id(group.as_i64(), &groups.index(index), errors);
    }
    if spec["shareProcessNamespace"] == true && spec["hostPID"] == true {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(FieldError::invalid(at.field("shareProcessNamespace"), true, why));
    }
    if let Some(policy) = context["fsGroupChangePolicy"].as_str() {
        enumeration(policy, &["Always", "OnRootMismatch"], &at.field("fsGroupChangePolicy"), errors);
    }
    let sysctls = at.field("sysctls");
    for (index, sysctl) in items(context, "sysctls").iter().enumerate() {
        if text(sysctl, "name").is_empty() {
            errors.push(FieldError::required(sysctls.index(index).field("name"), ""));
        }
    }
    profiles(context, &at, errors);
}

/// Of one container.
pub fn validate_container(context: &Tree, path: &Path<'_>, errors: &mut Errors) {
    if context.is_null() {
        return;
    }
    ids(context, &["runAsUser", "runAsGroup"], path, errors);
    profiles(context, path, errors);
    if let Some(mount) = context["procMount"].as_str() {
        enumeration(mount, &["Default", "Unmasked"], &path.field("procMount"), errors);
    }
    if context["allowPrivilegeEscalation"] == false {
        if context["privileged"] == true {
            let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.push(FieldError::invalid(path, context.clone(), why));
        }
        if items(&context["capabilities"], "add").iter().any(|c| c == "CAP_SYS_ADMIN" || c == "SYS_ADMIN") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.push(FieldError::invalid(path, context.clone(), why));
        }
    }
}

fn ids(context: &Tree, fields: &[&str], path: &Path<'_>, errors: &mut Errors) {
    for field in fields {
        id(context[*field].as_i64(), &path.field(field), errors);
    }
}

fn id(value: Option<i64>, path: &Path<'_>, errors: &mut Errors) {
    if let Some(value) = value.filter(|v| !(0..=i64::from(i32::MAX)).contains(v)) {
        errors.push(FieldError::invalid(path, value, "must be between 0 and 2147483647, inclusive"));
    }
}

fn profiles(context: &Tree, path: &Path<'_>, errors: &mut Errors) {
    for field in ["seccompProfile", "appArmorProfile"] {
        let (profile, path) = (&context[field], path.field(field));
        if profile.is_null() {
            continue;
        }
        let kind = text(profile, "type");
        if kind.is_empty() {
            errors.push(FieldError::required(path.field("type"), "type is required when a profile is set"));
        } else {
            enumeration(kind, &["Localhost", "RuntimeDefault", "Unconfined"], &path.field("type"), errors);
        }
        let local = profile["localhostProfile"].as_str();
        if kind == "Localhost" && local.is_none_or(str::is_empty) {
            let why = format!(
                "must be set when {} type is Localhost",
                if field == "seccompProfile" { "seccomp" } else { "AppArmor" }
            );
            errors.push(FieldError::required(path.field("localhostProfile"), why));
        } else if let Some(local) = local.filter(|_| kind != "Localhost") {
            let why = "can only be set when type is \"Localhost\"";
            errors.push(FieldError::invalid(path.field("localhostProfile"), local, why));
        }
    }
}
