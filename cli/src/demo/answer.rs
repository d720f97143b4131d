//! The demo's state and its answers.

use super::metrics::Metrics;
use super::route::{Action, Probe, Refusal, route};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant, SystemTime};

/// Who it is and how it is. One thread owns it.
#[derive(Debug)]
pub struct Demo {
    name: String,
    version: String,
    pod: String,
    node: String,
    healthy: Cell<bool>,
    ready: Cell<bool>,
    /// A signal came: each answer ends its connection.
    pub stopping: Cell<bool>,
    /// When the last request was taken or answered.
    pub active_at: Cell<Instant>,
    pub metrics: RefCell<Metrics>,
}

impl std::fmt::Display for Demo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

impl Demo {
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> Self {
        let or = |names: &[&str], default: &str| {
            names.iter().find_map(|name| get(name)).unwrap_or_else(|| default.to_owned())
        };
        Demo {
            name: or(&["DEMO_NAME"], "demo"),
            version: or(&["DEMO_VERSION"], "dev"),
            pod: or(&["POD_NAME", "HOSTNAME"], ""),
            node: or(&["NODE_NAME"], ""),
            healthy: Cell::new(true),
            ready: Cell::new(true),
            stopping: Cell::new(false),
            active_at: Cell::new(Instant::now()),
            metrics: RefCell::new(Metrics::new(SystemTime::now())),
        }
    }

    pub async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>> {
        let began = Instant::now();
        self.active_at.set(began);
        self.metrics.borrow_mut().in_flight += 1;
        let path = request.uri().path();
        let action = route(request.method().as_str(), path, request.uri().query().unwrap_or_default());
        let mut response = self.act(action).await;
        if request.method() == Method::HEAD {
            *response.body_mut() = Full::default();
        }
        let mut metrics = self.metrics.borrow_mut();
        metrics.in_flight -= 1;
        metrics.count(path, response.status().as_u16(), began.elapsed());
        self.active_at.set(Instant::now());
        if self.stopping.get() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn act(&self, action: Action) -> Response<Full<Bytes>> {
        match action {
            Action::Describe => json(&serde_json::json!({
                "name": self.name, "version": self.version, "pod": self.pod, "node": self.node,
            })),
            Action::Check(probe) => self.check(probe),
            Action::Switch { probe, fail } => {
                self.switch_of(probe).set(!fail);
                text(StatusCode::OK, if fail { "fails from now on\n" } else { "ok from now on\n" })
            }
            Action::Burn(time) => match tokio::task::spawn_blocking(move || burn(time)).await {
                Ok(rounds) => text(StatusCode::OK, format!("{rounds} rounds\n")),
                Err(e) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{e}\n")),
            },
            Action::Delay(time) => {
                tokio::time::sleep(time).await;
                text(StatusCode::OK, "here you are\n")
            }
            Action::Metrics => {
                let mut response = text(StatusCode::OK, self.metrics.borrow().render(&self.version));
                let form = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, form);
                response
            }
            Action::Refuse(Refusal::NotFound) => {
                text(StatusCode::NOT_FOUND, "/ /healthz /ready /burn?ms= /delay?ms= /metrics\n")
            }
            Action::Refuse(Refusal::Method) => text(StatusCode::METHOD_NOT_ALLOWED, "not with this method\n"),
            Action::Refuse(Refusal::Query(wanted)) => text(StatusCode::BAD_REQUEST, format!("it needs ?{wanted}\n")),
        }
    }

    fn check(&self, probe: Probe) -> Response<Full<Bytes>> {
        match probe {
            Probe::Health if !self.healthy.get() => text(StatusCode::INTERNAL_SERVER_ERROR, "switched to fail\n"),
            Probe::Ready if !self.ready.get() => text(StatusCode::SERVICE_UNAVAILABLE, "switched to fail\n"),
            Probe::Ready if self.stopping.get() => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
            _ => text(StatusCode::OK, "ok\n"),
        }
    }

    fn switch_of(&self, probe: Probe) -> &Cell<bool> {
        match probe {
            Probe::Health => &self.healthy,
            Probe::Ready => &self.ready,
        }
    }
}

fn json(value: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::OK, format!("{value}\n"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Keeps one core busy for the time.
fn burn(time: Duration) -> u64 {
    let end = Instant::now() + time;
    let mut rounds = 0u64;
    while Instant::now() < end {
        for _ in 0..1_000 {
            rounds = std::hint::black_box(rounds + 1);
        }
    }
    rounds
}
