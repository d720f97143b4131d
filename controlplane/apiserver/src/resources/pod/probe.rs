//! Probes and lifecycle hooks.

use crate::validate::{Errors, Path, enumeration, int, items, non_negative, optional_int, text};
use coracle_proto::field::FieldError;
use coracle_proto::{Tree, name};

const HANDLERS: [&str; 5] = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];

/// Everything of a container that calls into it.
pub fn validate_all(container: &Tree, path: &Path<'_>, errors: &mut Errors) {
    for field in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if !container[field].is_null() {
            probe(&container[field], field, &path.field(field), errors);
        }
    }
    let lifecycle = path.field("lifecycle");
    for field in ["postStart", "preStop"] {
        if !container["lifecycle"][field].is_null() {
            handler(&container["lifecycle"][field], &lifecycle.field(field), errors);
        }
    }
}

fn probe(probe: &Tree, sort: &str, path: &Path<'_>, errors: &mut Errors) {
    handler(probe, path, errors);
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        non_negative(optional_int(probe, field), &path.field(field), errors);
    }
    if sort != "readinessProbe" && int(probe, "successThreshold") > 1 {
        errors.push(FieldError::invalid(path.field("successThreshold"), int(probe, "successThreshold"), "must be 1"));
    }
    if let Some(grace) = optional_int(probe, "terminationGracePeriodSeconds") {
        let path = path.field("terminationGracePeriodSeconds");
        if sort == "readinessProbe" {
            errors.push(FieldError::invalid(path, grace, "must not be set for readinessProbes"));
        } else if grace <= 0 {
            errors.push(FieldError::invalid(path, grace, "must be greater than 0"));
        }
    }
}

/// Exactly one way to ask.
fn handler(handler: &Tree, path: &Path<'_>, errors: &mut Errors) {
    let named: Vec<&str> = HANDLERS.into_iter().filter(|h| !handler[*h].is_null()).collect();
    if named.is_empty() {
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
    for (at, kind) in named.into_iter().enumerate() {
        let (action, path) = (&handler[kind], path.field(kind));
        if at > 0 {
            errors.push(FieldError::forbidden(path, "may not specify more than 1 handler type"));
            continue;
        }
        match kind {
            "exec" if items(action, "command").is_empty() => {
                errors.push(FieldError::required(path.field("command"), ""));
            }
            "httpGet" => http(action, &path, errors),
            "tcpSocket" => port(&action["port"], &path.field("port"), errors),
            "grpc" => port(&action["port"], &path.field("port"), errors),
            _ => {}
        }
    }
}

fn http(action: &Tree, path: &Path<'_>, errors: &mut Errors) {
    if text(action, "path").is_empty() {
        errors.push(FieldError::required(path.field("path"), ""));
    }
    port(&action["port"], &path.field("port"), errors);
    enumeration(text(action, "scheme"), &["HTTP", "HTTPS"], &path.field("scheme"), errors);
    let headers = path.field("httpHeaders");
    for header in items(action, "httpHeaders") {
        let header_name = text(header, "name");
        let good = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        if header_name.is_empty() || !header_name.bytes().all(good) {
            let why = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
            errors.push(FieldError::invalid(headers, header_name, why));
        }
    }
}

/// A number, or the name of a container's port.
fn port(port: &Tree, path: &Path<'_>, errors: &mut Errors) {
    let why = match port {
        Tree::String(named) => name::port_name(named),
        _ => name::port_number(port.as_i64().unwrap_or_default()),
    };
    if let Some(why) = why {
        let shown = if port.is_null() { 0.into() } else { port.clone() };
        errors.push(FieldError::invalid(path, shown, why));
    }
}
