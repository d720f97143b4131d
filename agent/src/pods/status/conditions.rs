//! The pod's conditions.

use crate::pods::resources::is_sidecar;
use crate::pods::state::{State, Step};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// What a condition says, without its times.
struct Verdict {
    kind: &'static str,
    good: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    fn good(kind: &'static str) -> Self {
        Self { kind, good: true, reason: None, message: None }
    }

    fn bad(kind: &'static str, reason: &'static str, message: Option<String>) -> Self {
        Self { kind, good: false, reason: Some(reason), message }
    }
}

/// Ours, then those of others as they were.
pub fn all(
    spec: &PodSpec,
    state: &State,
    phase: &str,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
    previous: &PodStatus,
    now: Timestamp,
) -> Vec<PodCondition> {
    let empty = Vec::new();
    let before = previous.conditions.as_ref().unwrap_or(&empty);
    let containers_ready = containers_ready(spec, phase, init, main);
    let ready = ready(spec, &containers_ready, before);
    let verdicts = [ready_to_start(state), initialized(spec, phase, init), ready, containers_ready];
    let mut conditions: Vec<PodCondition> = verdicts.into_iter().map(|v| condition(v, before, now)).collect();
    // `condition` made one of each of these kinds; the rest belongs to the scheduler, controllers and users.
    let others = before.iter().filter(|c| !conditions.iter().any(|own| own.type_ == c.type_)).cloned();
    let others: Vec<PodCondition> = others.collect();
    conditions.extend(others);
    conditions
}

fn condition(verdict: Verdict, before: &[PodCondition], now: Timestamp) -> PodCondition {
    let status = if verdict.good { "True" } else { "False" };
    let same = before.iter().find(|c| c.type_ == verdict.kind && c.status == status);
    PodCondition {
        type_: verdict.kind.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.map(str::to_owned),
        message: verdict.message,
        last_transition_time: same.and_then(|c| c.last_transition_time.clone()).or(Some(Time(now))),
        ..PodCondition::default()
    }
}

fn ready_to_start(state: &State) -> Verdict {
    let given_back = state.released != Step::Open || state.torn_down == Step::Done;
    let good = state.sandbox.ready().is_some_and(|s| s.alive) && !given_back;
    Verdict { kind: "PodReadyToStartContainers", good, reason: None, message: None }
}

fn initialized(spec: &PodSpec, phase: &str, init: &[ContainerStatus]) -> Verdict {
    let incomplete: Vec<&str> = spec
        .init_containers
        .iter()
        .flatten()
        .zip(init)
        .filter(|(container, status)| if is_sidecar(container) { status.started != Some(true) } else { !status.ready })
        .map(|(container, _)| container.name.as_str())
        .collect();
    match phase {
        "Succeeded" => Verdict { reason: Some("PodCompleted"), ..Verdict::good("Initialized") },
        _ if incomplete.is_empty() => Verdict::good("Initialized"),
        _ => Verdict::bad("Initialized", "ContainersNotInitialized", Some(names("incomplete", &incomplete))),
    }
}

fn containers_ready(spec: &PodSpec, phase: &str, init: &[ContainerStatus], main: &[ContainerStatus]) -> Verdict {
    const KIND: &str = "ContainersReady";
    let sidecars = spec.init_containers.iter().flatten().zip(init).filter(|(c, _)| is_sidecar(c)).map(|(_, s)| s);
    let unready: Vec<&str> = sidecars.chain(main).filter(|s| !s.ready).map(|s| s.name.as_str()).collect();
    match phase {
        "Succeeded" => Verdict::bad(KIND, "PodCompleted", None),
        "Failed" => Verdict::bad(KIND, "PodFailed", None),
        _ if unready.is_empty() => Verdict::good(KIND),
        _ => Verdict::bad(KIND, "ContainersNotReady", Some(names("unready", &unready))),
    }
}

fn names(what: &str, containers: &[&str]) -> String {
    format!("containers with {what} status: [{}]", containers.join(" "))
}

/// Ready, and every readiness gate is True.
fn ready(spec: &PodSpec, containers: &Verdict, before: &[PodCondition]) -> Verdict {
    if !containers.good {
        return Verdict { kind: "Ready", good: false, reason: containers.reason, message: containers.message.clone() };
    }
    let messages: Vec<String> = spec
        .readiness_gates
        .iter()
        .flatten()
        .filter_map(|gate| {
            let kind = &gate.condition_type;
            match before.iter().find(|c| c.type_ == *kind) {
                None => Some(format!("corresponding condition of pod readiness gate {kind:?} does not exist.")),
                Some(c) if c.status != "True" => {
                    let status = &c.status;
                    Some(format!("the status of pod readiness gate {kind:?} is not \"True\", but {status}"))
                }
                Some(_) => None,
            }
        })
        .collect();
    match messages.as_slice() {
        [] => Verdict::good("Ready"),
        [one] => Verdict::bad("Ready", "ReadinessGatesNotReady", Some(one.clone())),
        many => Verdict::bad("Ready", "ReadinessGatesNotReady", Some(format!("[{}]", many.join(", ")))),
    }
}
