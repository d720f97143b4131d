//! `/healthz`, `/livez`, `/readyz`.

use super::query::Query;
use super::respond::{self, Body};
use crate::registry::Registry;
use http::{Response, StatusCode};

/// With what they depend on.
const CHECKS: [&str; 2] = ["ping", "etcd"];

pub async fn respond(registry: &Registry, endpoint: &str, check: Option<&str>, query: &Query) -> Response<Body> {
    let plain = "text/plain; charset=utf-8";
    let known = |name: &str| CHECKS.contains(&name) || (name == "poststarthook" && endpoint != "healthz");
    if check.is_some_and(|c| !known(c)) {
        return respond::raw(StatusCode::NOT_FOUND, plain, "404 page not found\n");
    }
    // Liveness says that the process answers; only readiness and health ask the store.
    let store = if endpoint == "livez" { Ok(()) } else { registry.ready().await };
    let excluded = query.all("exclude");
    let mut report = String::new();
    let mut healthy = true;
    for name in CHECKS.into_iter().filter(|c| check.is_none_or(|only| only == *c)) {
        if excluded.iter().any(|e| e == name) {
            report.push_str(&format!("[+]{name} excluded: ok\n"));
        } else if name == "etcd" && store.is_err() {
            healthy = false;
            report.push_str("[-]etcd failed: reason withheld\n");
        } else {
            report.push_str(&format!("[+]{name} ok\n"));
        }
    }
    if !healthy {
        return respond::raw(StatusCode::INTERNAL_SERVER_ERROR, plain, format!("{report}{endpoint} check failed\n"));
    }
    let text = if query.has("verbose") { format!("{report}{endpoint} check passed\n") } else { "ok".into() };
    respond::raw(StatusCode::OK, plain, text)
}
