//! A pod's status, purely from its spec and what the worker knows, field by field as kubelet reports it.

mod conditions;
mod containers;

use super::plan::{RestartPolicy, init_failed, main_began};
use super::resources::{is_sidecar, qos};
use super::state::{State, Step, Why};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, HostIP, Pod, PodIP, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::net::Ipv4Addr;

/// Where a pod is.
pub struct Place<'a> {
    pub node_ip: Ipv4Addr,
    /// Of its containers' IDs.
    pub runtime_scheme: &'a str,
}

/// `previous` is the status that was last rendered or that the API has: times of transitions carry over from it.
pub fn render(pod: &Pod, state: &State, place: &Place<'_>, previous: &PodStatus, now: Timestamp) -> PodStatus {
    let Some(spec) = &pod.spec else { return PodStatus::default() };
    let seen = containers::Seen { pod, spec, state, scheme: place.runtime_scheme, now };
    let init_statuses: Vec<ContainerStatus> =
        spec.init_containers.iter().flatten().map(|c| seen.status(c, true)).collect();
    let statuses: Vec<ContainerStatus> = spec.containers.iter().map(|c| seen.status(c, false)).collect();
    let phase = phase(spec, state, &init_statuses, &statuses);
    let pod_ip = address(state, previous);
    let (reason, message) = state.failure.clone().map_or((None, None), |(r, m)| (Some(r.to_owned()), Some(m)));
    let conditions = conditions::all(spec, state, phase, &init_statuses, &statuses, previous, now);
    PodStatus {
        phase: Some(phase.to_owned()),
        conditions: Some(conditions),
        container_statuses: Some(statuses),
        init_container_statuses: (!init_statuses.is_empty()).then_some(init_statuses),
        host_ip: Some(place.node_ip.to_string()),
        host_ips: Some(vec![HostIP { ip: place.node_ip.to_string() }]),
        pod_ips: pod_ip.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip,
        qos_class: Some(qos(pod).name().to_owned()),
        start_time: state.started_at.map(Time),
        reason,
        message,
        ..PodStatus::default()
    }
}

/// A pod keeps showing the address it had.
fn address(state: &State, previous: &PodStatus) -> Option<String> {
    let now = state.sandbox.ready().and_then(|s| s.ip).map(|ip| ip.to_string());
    now.or_else(|| previous.pod_ip.clone())
}

/// See <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase>.
fn phase(
    spec: &PodSpec,
    state: &State,
    init_statuses: &[ContainerStatus],
    statuses: &[ContainerStatus],
) -> &'static str {
    let still = state.is_still();
    if still && state.failure.is_some() {
        return "Failed";
    }
    let ended = state.ending.is_some() && state.withdrawn == Step::Done && still;
    if still && init_failed(spec, state) {
        return "Failed";
    }
    if !ended && !main_began(spec, state) && init_pending(spec, init_statuses) {
        return "Pending";
    }
    let counts = Counts::of(statuses);
    if counts.waiting > 0 && !ended {
        return "Pending";
    }
    if counts.running > 0 || (!still && counts.ended > 0) {
        return "Running";
    }
    let policy = RestartPolicy::of(spec);
    let good = counts.failed == 0;
    match (counts.ended > 0, policy) {
        (false, _) => "Pending",
        (true, _) if ended => {
            if good {
                "Succeeded"
            } else {
                "Failed"
            }
        }
        (true, RestartPolicy::Always) => "Running",
        (true, RestartPolicy::OnFailure) => {
            if good {
                "Succeeded"
            } else {
                "Running"
            }
        }
        (true, RestartPolicy::Never) => {
            if good {
                "Succeeded"
            } else {
                "Failed"
            }
        }
    }
}

fn init_pending(spec: &PodSpec, statuses: &[ContainerStatus]) -> bool {
    let containers = spec.init_containers.iter().flatten();
    containers.zip(statuses).any(|(container, status)| {
        if is_sidecar(container) {
            return status.started != Some(true);
        }
        let ended = status.state.as_ref().and_then(|s| s.terminated.as_ref());
        ended.is_none_or(|t| t.exit_code != 0)
    })
}

#[derive(Default)]
struct Counts {
    waiting: usize,
    running: usize,
    ended: usize,
    failed: usize,
}

impl Counts {
    /// One that waits for its next attempt counts as ended.
    fn of(statuses: &[ContainerStatus]) -> Self {
        let mut counts = Self::default();
        for status in statuses {
            let state = status.state.clone().unwrap_or_default();
            let last = status.last_state.as_ref().and_then(|s| s.terminated.as_ref());
            let ended = state.terminated.as_ref().or(last.filter(|_| state.running.is_none()));
            match ended {
                _ if state.running.is_some() => counts.running += 1,
                Some(terminated) => {
                    counts.ended += 1;
                    counts.failed += usize::from(terminated.exit_code != 0);
                }
                None => counts.waiting += 1,
            }
        }
        counts
    }
}

/// Whether the API's object is to stay as it is after this.
pub fn is_final(phase: Option<&str>) -> bool {
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// A pod that ended by its deadline is Failed whatever its containers say.
pub fn failure_of(why: Why) -> Option<(&'static str, String)> {
    match why {
        Why::Deadline => {
            Some(("DeadlineExceeded", "Pod was active on the node longer than the specified deadline".to_owned()))
        }
        Why::Deleted | Why::Gone | Why::StopAll => None,
    }
}

#[cfg(test)]
mod tests;
