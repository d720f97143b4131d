//! Runs the probes of one container attempt and reports what they come to.

use super::grpc;
use super::http::{self, HttpTarget};
use super::state::{Counter, ProbeKind, Settings, Verdict};
use crate::limits;
use coracle_runtime::{ContainerId, ExecSpec, Runtime};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// What a probe says to the pod's worker.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeReport {
    pub container: String,
    pub id: ContainerId,
    pub kind: ProbeKind,
    /// `None`: a failure that reaches no threshold yet, worth an event.
    pub verdict: Option<Verdict>,
    /// Of a failure; may be empty.
    pub failure: Option<String>,
}

/// What probing needs.
#[derive(Clone)]
pub struct ProbeContext {
    pub runtime: Arc<dyn Runtime>,
    /// Where the pod is reached.
    pub host: String,
    pub reports: mpsc::Sender<ProbeReport>,
}

/// The running probes of one attempt. They end when this is dropped.
pub struct Checks {
    pub id: ContainerId,
    started: watch::Sender<bool>,
    liveness: Vec<AbortOnDropHandle<()>>,
    _others: Vec<AbortOnDropHandle<()>>,
}

impl Checks {
    /// Liveness and readiness wait until the attempt counts as started.
    pub fn start(
        context: &ProbeContext,
        container: &Container,
        id: ContainerId,
        started_at: Timestamp,
        is_started: bool,
    ) -> Self {
        let (started, reader) = watch::channel(is_started);
        let spawn = |probe: &Option<Probe>, kind: ProbeKind| {
            let runner = Runner {
                context: context.clone(),
                container: container.clone(),
                id: id.clone(),
                kind,
                settings: Settings::of(probe.as_ref()?),
                probe: probe.clone()?,
                started: reader.clone(),
                started_at,
            };
            Some(AbortOnDropHandle::new(tokio::spawn(runner.run())))
        };
        let startup = (!is_started).then(|| spawn(&container.startup_probe, ProbeKind::Startup)).flatten();
        let readiness = spawn(&container.readiness_probe, ProbeKind::Readiness);
        let liveness = spawn(&container.liveness_probe, ProbeKind::Liveness).into_iter().collect();
        Self { id, started, liveness, _others: startup.into_iter().chain(readiness).collect() }
    }

    /// Its startup probe passed, or it has none.
    pub fn set_started(&self) {
        self.started.send_replace(true);
    }

    /// A pod that ends is not killed for failing; whether it still serves goes on counting.
    pub fn stop_liveness(&mut self) {
        self.liveness.clear();
    }
}

struct Runner {
    context: ProbeContext,
    container: Container,
    id: ContainerId,
    kind: ProbeKind,
    probe: Probe,
    settings: Settings,
    started: watch::Receiver<bool>,
    started_at: Timestamp,
}

impl Runner {
    async fn run(mut self) {
        if self.kind != ProbeKind::Startup && self.started.wait_for(|s| *s).await.is_err() {
            return;
        }
        let age = Timestamp::now().duration_since(self.started_at).unsigned_abs();
        tokio::time::sleep(self.settings.initial_delay.saturating_sub(age)).await;
        let mut counter = Counter::default();
        let mut passed = false;
        loop {
            let began = Instant::now();
            let answer = self.probe_once().await;
            let verdict = counter.count(answer.is_ok(), &self.settings);
            passed |= verdict == Some(Verdict::Passes);
            if verdict.is_some() || answer.is_err() {
                let report = self.report(verdict, answer.err());
                if self.context.reports.send(report).await.is_err() {
                    return;
                }
            }
            if self.kind == ProbeKind::Startup && verdict.is_some() {
                return;
            }
            // What is not ready yet is asked again soon at first, so that a quick start is seen quickly. A failure
            // changes nothing then; for startup and liveness it would use up the threshold.
            let early = !passed && self.kind == ProbeKind::Readiness && self.settings.successes == 1;
            let age = Timestamp::now().duration_since(self.started_at).unsigned_abs();
            let period = if early { early_period(self.settings.period, age) } else { self.settings.period };
            tokio::time::sleep_until(began + period).await;
        }
    }

    fn report(&self, verdict: Option<Verdict>, failure: Option<String>) -> ProbeReport {
        ProbeReport { container: self.container.name.clone(), id: self.id.clone(), kind: self.kind, verdict, failure }
    }

    async fn probe_once(&self) -> Result<(), String> {
        let timeout = self.settings.timeout;
        match tokio::time::timeout(timeout, self.ask()).await {
            Ok(answer) => answer,
            Err(_) => Err(self.timed_out(timeout)),
        }
    }

    fn timed_out(&self, timeout: Duration) -> String {
        if self.probe.exec.is_some() {
            return format!(
                "command timed out: \"{}\" timed out after {}s",
                self.command().join(" "),
                timeout.as_secs()
            );
        }
        match self.probe.http_get.as_ref().map(|action| self.target(action)) {
            Some(Ok(target)) => {
                let scheme = if target.https { "https" } else { "http" };
                let url = format!("{scheme}://{}:{}{}", target.host, target.port, target.path);
                format!("Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)")
            }
            _ => format!("timed out after {}s", timeout.as_secs()),
        }
    }

    fn command(&self) -> Vec<String> {
        self.probe.exec.as_ref().and_then(|e| e.command.clone()).unwrap_or_default()
    }

    fn target(&self, action: &HTTPGetAction) -> Result<HttpTarget, String> {
        http_target(&self.container, action, &self.context.host)
    }

    async fn ask(&self) -> Result<(), String> {
        if self.probe.exec.is_some() {
            return match exec(self.context.runtime.as_ref(), &self.id, self.command()).await? {
                (0, _) => Ok(()),
                (_, output) => Err(output),
            };
        }
        if let Some(action) = &self.probe.http_get {
            return http::get(&self.target(action)?).await;
        }
        if let Some(action) = &self.probe.tcp_socket {
            let host = action.host.as_deref().filter(|h| !h.is_empty()).unwrap_or(&self.context.host);
            let port = port_of(&self.container, &action.port)?;
            let dialled = tokio::net::TcpStream::connect((host, port)).await;
            return dialled.map(drop).map_err(|e| format!("dial tcp {host}:{port}: {}", http::connect_error(&e)));
        }
        if let Some(action) = &self.probe.grpc {
            let port = u16::try_from(action.port).map_err(|_| format!("invalid port number: {}", action.port))?;
            return grpc::check(&self.context.host, port, action.service.as_deref().unwrap_or_default()).await;
        }
        Err("the probe has no handler".to_owned())
    }
}

/// Ten times as often as asked for the first seconds, never slower than the period.
fn early_period(period: Duration, age: Duration) -> Duration {
    if age < EARLY { (period / 10).max(EARLY_PERIOD_MIN).min(period) } else { period }
}

const EARLY: Duration = Duration::from_secs(10);
const EARLY_PERIOD_MIN: Duration = Duration::from_millis(100);

/// A port by number, or by its name among the container's.
pub fn port_of(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => match container.ports.iter().flatten().find(|p| p.name.as_ref() == Some(name)) {
            Some(port) => port.container_port,
            None => name.parse().map_err(|_| format!("couldn't find port: {name}"))?,
        },
    };
    u16::try_from(number).ok().filter(|n| *n > 0).ok_or_else(|| format!("invalid port number: {number}"))
}

/// What an `httpGet` of a probe or hook asks for.
pub fn http_target(container: &Container, action: &HTTPGetAction, pod: &str) -> Result<HttpTarget, String> {
    let path = action.path.as_deref().unwrap_or("/");
    Ok(HttpTarget {
        https: action.scheme.as_deref().is_some_and(|s| s.eq_ignore_ascii_case("https")),
        host: action.host.clone().filter(|h| !h.is_empty()).unwrap_or_else(|| pod.to_owned()),
        port: port_of(container, &action.port)?,
        path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
        headers: action.http_headers.iter().flatten().map(|h| (h.name.clone(), h.value.clone())).collect(),
    })
}

/// Runs a command in a container: its exit code and a bounded part of what it wrote.
pub async fn exec(runtime: &dyn Runtime, id: &ContainerId, command: Vec<String>) -> Result<(i32, String), String> {
    let spec = ExecSpec { command, stdout: true, stderr: true, ..ExecSpec::default() };
    let mut session = runtime.exec(id, &spec).await.map_err(|e| e.to_string())?;
    let mut output = Vec::new();
    while let Some((_, bytes)) = session.output.recv().await {
        let room = limits::EXEC_OUTPUT_MAX_BYTES.saturating_sub(output.len());
        output.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
    let code = session.exit.await.map_err(|_| "the command's end was not seen".to_owned())?;
    Ok((code.map_err(|e| e.to_string())?, String::from_utf8_lossy(&output).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_by_number_and_name() {
        let container: Container =
            serde_json::from_value(json!({"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}))
                .expect("is one");
        for (port, expected) in [
            (IntOrString::Int(80), Ok(80)),
            (IntOrString::String("web".into()), Ok(8080)),
            (IntOrString::String("81".into()), Ok(81)),
            (IntOrString::String("no".into()), Err("couldn't find port: no".to_owned())),
            (IntOrString::Int(70_000), Err("invalid port number: 70000".to_owned())),
        ] {
            assert_eq!(port_of(&container, &port), expected);
        }
    }

    #[test]
    fn a_new_container_is_asked_more_often_but_never_less() {
        let seconds = Duration::from_secs;
        assert_eq!(early_period(seconds(10), seconds(1)), seconds(1));
        assert_eq!(early_period(seconds(1), seconds(1)), Duration::from_millis(100));
        assert_eq!(early_period(seconds(10), seconds(11)), seconds(10));
    }
}
