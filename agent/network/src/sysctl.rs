//! The kernel's switches for networking, under `/proc/sys/net`, in the network namespace of the calling thread.

use crate::NetworkError;
use std::fs;

/// Reads one, e.g. `ipv4/ip_forward`.
pub fn get(name: &str) -> Result<String, NetworkError> {
    let value = fs::read_to_string(path(name)).map_err(|error| NetworkError::Io {
        doing: format!("reading the kernel setting {name}"),
        why: error.to_string(),
    })?;
    Ok(value.trim().to_owned())
}

/// Sets one that does not have the value yet.
pub fn set(name: &str, value: &str) -> Result<(), NetworkError> {
    if get(name)? == value {
        return Ok(());
    }
    fs::write(path(name), value).map_err(|error| NetworkError::Host {
        what: format!("the kernel setting net/{name} could not be set to {value}: {error}"),
        fix: "run as root with /proc/sys writable".into(),
    })
}

/// As [`set`], where the kernel has it at all (IPv6 may be compiled out).
pub fn set_if_there(name: &str, value: &str) -> Result<(), NetworkError> {
    if fs::exists(path(name)).unwrap_or(false) { set(name, value) } else { Ok(()) }
}

fn path(name: &str) -> String {
    format!("/proc/sys/net/{name}")
}
