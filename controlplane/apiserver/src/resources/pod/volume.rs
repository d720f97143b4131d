//! Volumes of a pod: a unique name and exactly one source each.

use super::container::relative_path;
use super::env::downward_item;
use crate::validate::{Errors, Path, enumeration, items, text};
use coracle_proto::field::FieldError;
use coracle_proto::quantity::Quantity;
use coracle_proto::{Tree, name};
use std::collections::BTreeSet;

const MAX_MODE: i64 = 0o777;
const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

/// The names containers may mount.
pub fn validate<'a>(volumes: &'a [Tree], list: &Path<'_>, errors: &mut Errors) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (at, volume) in volumes.iter().enumerate() {
        let path = list.index(at);
        let volume_name = text(volume, "name");
        if volume_name.is_empty() {
            errors.push(FieldError::required(path.field("name"), ""));
        } else if let Some(why) = name::dns1123_label(volume_name) {
            errors.push(FieldError::invalid(path.field("name"), volume_name, why));
        } else if !names.insert(volume_name) {
            errors.push(FieldError::duplicate(path.field("name"), volume_name));
        }
        source(volume, &path, errors);
    }
    names
}

fn source(volume: &Tree, path: &Path<'_>, errors: &mut Errors) {
    let sources = volume.as_object().into_iter().flatten();
    let sources: Vec<(&String, &Tree)> = sources.filter(|(key, value)| *key != "name" && !value.is_null()).collect();
    if sources.is_empty() {
        errors.push(FieldError::required(path, "must specify a volume type"));
    }
    for (at, (kind, source)) in sources.into_iter().enumerate() {
        let path = path.field(kind);
        if at > 0 {
            errors.push(FieldError::forbidden(path, "may not specify more than 1 volume type"));
            continue;
        }
        match kind.as_str() {
            "emptyDir" => empty_dir(source, &path, errors),
            "hostPath" => host_path(source, &path, errors),
            "configMap" => named(source, "name", &path, errors),
            "secret" => named(source, "secretName", &path, errors),
            "persistentVolumeClaim" if text(source, "claimName").is_empty() => {
                errors.push(FieldError::required(path.field("claimName"), ""));
            }
            "downwardAPI" => downward(source, &path, errors),
            "projected" => projected(source, &path, errors),
            _ => {}
        }
    }
}

fn empty_dir(source: &Tree, path: &Path<'_>, errors: &mut Errors) {
    let limit = text(source, "sizeLimit");
    if Quantity::parse(limit).is_ok_and(|q| q.is_negative()) {
        let why = "SizeLimit field must be a valid resource quantity";
        errors.push(FieldError::forbidden(path.field("sizeLimit"), why));
    }
}

fn host_path(source: &Tree, path: &Path<'_>, errors: &mut Errors) {
    let host = text(source, "path");
    if host.is_empty() {
        errors.push(FieldError::required(path.field("path"), ""));
    } else if host.split('/').any(|step| step == "..") {
        errors.push(FieldError::invalid(path.field("path"), host, "must not contain '..'"));
    }
    enumeration(text(source, "type"), &HOST_PATH_TYPES, &path.field("type"), errors);
}

fn mode(value: &Tree, path: &Path<'_>, errors: &mut Errors) {
    if value.as_i64().is_some_and(|m| !(0..=MAX_MODE).contains(&m)) {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(FieldError::invalid(path, value.clone(), why));
    }
}

/// A ConfigMap or Secret as files.
fn named(source: &Tree, name_field: &str, path: &Path<'_>, errors: &mut Errors) {
    if text(source, name_field).is_empty() {
        errors.push(FieldError::required(path.field(name_field), ""));
    }
    mode(&source["defaultMode"], &path.field("defaultMode"), errors);
    keys(items(source, "items"), &path.field("items"), errors);
}

fn keys(keys: &[Tree], list: &Path<'_>, errors: &mut Errors) {
    for (at, item) in keys.iter().enumerate() {
        let path = list.index(at);
        if text(item, "key").is_empty() {
            errors.push(FieldError::required(path.field("key"), ""));
        }
        file(text(item, "path"), &path.field("path"), errors);
        mode(&item["mode"], &path.field("mode"), errors);
    }
}

/// Where a projected file goes: relative, never up, and not where the agent keeps its own entries.
fn file(value: &str, path: &Path<'_>, errors: &mut Errors) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    relative_path(value, path, errors);
    if value.starts_with("..") && !value.starts_with("../") && value != ".." {
        errors.push(FieldError::invalid(path, value, "must not start with '..'"));
    }
}

fn downward(source: &Tree, path: &Path<'_>, errors: &mut Errors) {
    mode(&source["defaultMode"], &path.field("defaultMode"), errors);
    let list = path.field("items");
    for (at, item) in items(source, "items").iter().enumerate() {
        let path = list.index(at);
        file(text(item, "path"), &path.field("path"), errors);
        mode(&item["mode"], &path.field("mode"), errors);
        downward_item(item, &path, errors);
    }
}

fn projected(source: &Tree, path: &Path<'_>, errors: &mut Errors) {
    mode(&source["defaultMode"], &path.field("defaultMode"), errors);
    let list = path.field("sources");
    for (at, part) in items(source, "sources").iter().enumerate() {
        let path = list.index(at);
        let kinds = part.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        for (count, (kind, part)) in kinds.enumerate() {
            let path = path.field(kind);
            if count > 0 {
                errors.push(FieldError::forbidden(path, "may not specify more than 1 volume type"));
                continue;
            }
            match kind.as_str() {
                "configMap" | "secret" => named(part, "name", &path, errors),
                "downwardAPI" => downward(part, &path, errors),
                "serviceAccountToken" => token(part, &path, errors),
                _ => {}
            }
        }
    }
}

fn token(source: &Tree, path: &Path<'_>, errors: &mut Errors) {
    if let Some(seconds) = source["expirationSeconds"].as_i64() {
        let path = path.field("expirationSeconds");
        if seconds < 600 {
            errors.push(FieldError::invalid(path, seconds, "may not specify a duration less than 10 minutes"));
        } else if seconds > 1 << 32 {
            errors.push(FieldError::invalid(path, seconds, "may not specify a duration larger than 2^32 seconds"));
        }
    }
    if text(source, "path").is_empty() {
        errors.push(FieldError::required(path.field("path"), ""));
    } else {
        relative_path(text(source, "path"), &path.field("path"), errors);
    }
}
