//! What a request asks for. Pure.

use super::limits;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Describe,
    Check(Probe),
    /// Let a probe fail from now on, or succeed.
    Switch {
        probe: Probe,
        fail: bool,
    },
    Burn(Duration),
    Delay(Duration),
    Metrics,
    Refuse(Refusal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    Health,
    Ready,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    NotFound,
    Method,
    /// The query's parameter that is missing or wrong.
    Query(&'static str),
}

pub fn route(method: &str, path: &str, query: &str) -> Action {
    let read = matches!(method, "GET" | "HEAD");
    let write = matches!(method, "POST" | "PUT");
    match (path, read || write) {
        ("/", true) if read => Action::Describe,
        ("/metrics", true) if read => Action::Metrics,
        ("/healthz", true) => check(Probe::Health, read, query),
        ("/ready", true) => check(Probe::Ready, read, query),
        ("/burn", true) => timed(query, limits::BURN, Action::Burn),
        ("/delay", true) => timed(query, limits::DELAY, Action::Delay),
        ("/" | "/metrics" | "/healthz" | "/ready" | "/burn" | "/delay", _) => Action::Refuse(Refusal::Method),
        _ => Action::Refuse(Refusal::NotFound),
    }
}

fn check(probe: Probe, read: bool, query: &str) -> Action {
    if read {
        return Action::Check(probe);
    }
    match parameter(query, "fail") {
        Some("true") => Action::Switch { probe, fail: true },
        Some("false") => Action::Switch { probe, fail: false },
        _ => Action::Refuse(Refusal::Query("fail=true or fail=false")),
    }
}

fn timed(query: &str, most: Duration, action: fn(Duration) -> Action) -> Action {
    match parameter(query, "ms").map(str::parse) {
        Some(Ok(ms)) if Duration::from_millis(ms) <= most => action(Duration::from_millis(ms)),
        _ => Action::Refuse(Refusal::Query("ms=<milliseconds>")),
    }
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_what_they_ask_for() {
        let ms = Duration::from_millis;
        let table = [
            ("GET", "/", "", Action::Describe),
            ("HEAD", "/", "", Action::Describe),
            ("GET", "/metrics", "", Action::Metrics),
            ("GET", "/healthz", "", Action::Check(Probe::Health)),
            ("GET", "/ready", "fail=true", Action::Check(Probe::Ready)),
            ("POST", "/healthz", "fail=true", Action::Switch { probe: Probe::Health, fail: true }),
            ("PUT", "/ready", "x=1&fail=false", Action::Switch { probe: Probe::Ready, fail: false }),
            ("POST", "/ready", "", Action::Refuse(Refusal::Query("fail=true or fail=false"))),
            ("GET", "/burn", "ms=5", Action::Burn(ms(5))),
            ("POST", "/delay", "ms=0", Action::Delay(ms(0))),
            ("GET", "/burn", "ms=99999999999", Action::Refuse(Refusal::Query("ms=<milliseconds>"))),
            ("GET", "/burn", "ms=-1", Action::Refuse(Refusal::Query("ms=<milliseconds>"))),
            ("GET", "/delay", "", Action::Refuse(Refusal::Query("ms=<milliseconds>"))),
            ("DELETE", "/", "", Action::Refuse(Refusal::Method)),
            ("POST", "/metrics", "", Action::Refuse(Refusal::Method)),
            ("GET", "/favicon.ico", "", Action::Refuse(Refusal::NotFound)),
        ];
        for (method, path, query, action) in table {
            assert_eq!(route(method, path, query), action, "{method} {path}?{query}");
        }
    }
}
