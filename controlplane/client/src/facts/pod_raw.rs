//! A Pod as it stands in JSON, decoded by borrowing, and what its facts are made from.

use super::meta::{RawMeta, instant};
use super::pod_constraints::RawConstraints;
use super::requests::RawAmounts;
use super::{ContainerPort, HostPort, Phase, PodFacts, Requests};
use coracle_proto::ApiError;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Deserialize)]
pub(super) struct RawPod<'a> {
    #[serde(borrow)]
    metadata: RawMeta<'a>,
    #[serde(borrow)]
    spec: RawSpec<'a>,
    #[serde(borrow, default)]
    status: RawStatus<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSpec<'a> {
    node_name: Option<Box<str>>,
    #[serde(borrow)]
    containers: Option<Vec<RawContainer<'a>>>,
    #[serde(borrow)]
    init_containers: Option<Vec<RawContainer<'a>>>,
    #[serde(borrow)]
    overhead: Option<RawAmounts<'a>>,
    #[serde(borrow)]
    node_selector: Option<&'a RawValue>,
    #[serde(borrow)]
    affinity: Option<&'a RawValue>,
    #[serde(borrow)]
    tolerations: Option<&'a RawValue>,
    #[serde(borrow)]
    topology_spread_constraints: Option<&'a RawValue>,
    host_network: Option<bool>,
    priority: Option<i32>,
    #[serde(borrow)]
    preemption_policy: Option<Cow<'a, str>>,
    scheduler_name: Option<Box<str>>,
    scheduling_gates: Option<Vec<RawGate>>,
    hostname: Option<Box<str>>,
    subdomain: Option<Box<str>>,
}

#[derive(Deserialize)]
struct RawGate {
    name: Box<str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawContainer<'a> {
    #[serde(borrow)]
    image: Option<Cow<'a, str>>,
    ports: Option<Vec<RawPort>>,
    #[serde(borrow)]
    resources: Option<RawResources<'a>>,
    #[serde(borrow)]
    restart_policy: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct RawResources<'a> {
    #[serde(borrow)]
    requests: Option<RawAmounts<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPort {
    name: Option<Box<str>>,
    container_port: Option<u16>,
    host_port: Option<u16>,
    #[serde(rename = "hostIP")]
    host_ip: Option<Box<str>>,
    protocol: Option<Box<str>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct RawStatus<'a> {
    #[serde(borrow)]
    phase: Option<Cow<'a, str>>,
    #[serde(borrow)]
    conditions: Option<Vec<RawCondition<'a>>>,
    #[serde(rename = "podIP")]
    pod_ip: Option<Box<str>>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<RawIp>>,
    #[serde(rename = "hostIP")]
    host_ip: Option<Box<str>>,
    #[serde(borrow)]
    start_time: Option<Cow<'a, str>>,
    container_statuses: Option<Vec<RawContainerStatus>>,
    nominated_node_name: Option<Box<str>>,
}

#[derive(Deserialize)]
struct RawIp {
    ip: Box<str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawContainerStatus {
    restart_count: Option<i32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawCondition<'a> {
    #[serde(borrow)]
    pub(super) r#type: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) status: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) message: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) last_transition_time: Option<Cow<'a, str>>,
    /// Only nodes' conditions have it.
    #[serde(borrow)]
    pub(super) last_heartbeat_time: Option<Cow<'a, str>>,
}

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// What a container that names no amount counts as in scores: upstream's `DefaultMilliCPURequest`, `DefaultMemoryRequest`.
const SCORED: (i64, i64) = (100, 200 * 1024 * 1024);

impl RawPod<'_> {
    pub(super) fn facts(self, revision: u64) -> Result<PodFacts, ApiError> {
        let Self { metadata, spec, status } = self;
        let deletion_cost = metadata.annotation(DELETION_COST).and_then(|c| c.parse().ok()).unwrap_or(0);
        let (requests, scored) = spec.requests();
        let condition = |kind: &str| status.conditions.iter().flatten().find(|c| c.r#type == kind);
        let ready_changed = condition("Ready").and_then(|c| instant(c.last_transition_time.as_deref()));
        let ready = condition("Ready").is_some_and(|c| c.status == "True");
        let unscheduled = condition("PodScheduled").filter(|c| c.status != "True");
        Ok(PodFacts {
            meta: metadata.meta(revision)?,
            requests,
            scored,
            constraints: spec.constraints().shared()?,
            host_ports: spec.host_ports(),
            ports: spec.ports(),
            host_network: spec.host_network.unwrap_or(false),
            priority: spec.priority.unwrap_or(0),
            never_preempts: spec.preemption_policy.as_deref() == Some("Never"),
            scheduler_name: spec.scheduler_name.unwrap_or_else(|| "default-scheduler".into()),
            scheduling_gates: spec.scheduling_gates.into_iter().flatten().map(|g| g.name).collect(),
            hostname: spec.hostname.unwrap_or_default(),
            subdomain: spec.subdomain.unwrap_or_default(),
            node_name: spec.node_name.unwrap_or_default(),
            phase: Phase::parse(status.phase.as_deref()),
            ready,
            ready_since: ready_changed.filter(|_| ready),
            unscheduled_reason: unscheduled.map(|c| c.message.as_deref().unwrap_or_default().into()),
            start_time: instant(status.start_time.as_deref()),
            restarts: status.container_statuses.iter().flatten().filter_map(|s| s.restart_count).max().unwrap_or(0),
            pod_ips: status
                .pod_ips
                .map_or_else(|| status.pod_ip.into_iter().collect(), |ips| ips.into_iter().map(|i| i.ip).collect()),
            host_ip: status.host_ip.unwrap_or_default(),
            nominated_node: status.nominated_node_name.unwrap_or_default(),
            deletion_cost,
        })
    }
}

impl Phase {
    fn parse(text: Option<&str>) -> Self {
        match text {
            Some("Running") => Self::Running,
            Some("Succeeded") => Self::Succeeded,
            Some("Failed") => Self::Failed,
            Some("Unknown") => Self::Unknown,
            _ => Self::Pending,
        }
    }
}

impl<'a> RawContainer<'a> {
    fn is_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }

    fn requests(&self) -> (Requests, Requests) {
        let raw = self.resources.as_ref().and_then(|r| r.requests.as_ref());
        let real = raw.map(RawAmounts::requests).unwrap_or_default();
        let mut scored = real.clone();
        if !raw.is_some_and(|r| r.names("cpu")) {
            scored.milli_cpu = SCORED.0;
        }
        if !raw.is_some_and(|r| r.names("memory")) {
            scored.memory = SCORED.1;
        }
        (real, scored)
    }
}

impl<'a> RawSpec<'a> {
    /// <https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers>
    fn requests(&self) -> (Requests, (i64, i64)) {
        let (mut real, mut scored) = (Total::default(), Total::default());
        for container in self.init_containers.iter().flatten() {
            let (r, s) = container.requests();
            real.init(&r, container.is_sidecar());
            scored.init(&s, container.is_sidecar());
        }
        for container in self.containers.iter().flatten() {
            let (r, s) = container.requests();
            real.running.add(&r);
            scored.running.add(&s);
        }
        let overhead = self.overhead.as_ref().map(RawAmounts::requests).unwrap_or_default();
        let scored = scored.sum(&overhead);
        (real.sum(&overhead), (scored.milli_cpu, scored.memory))
    }

    fn constraints(&self) -> RawConstraints<'_> {
        let containers = self.init_containers.iter().chain(&self.containers).flatten();
        RawConstraints {
            node_selector: self.node_selector,
            affinity: self.affinity,
            tolerations: self.tolerations,
            topology_spread: self.topology_spread_constraints,
            images: containers.filter_map(|c| c.image.as_deref()).collect(),
        }
    }

    /// Ports of containers and of sidecars, which run beside them.
    fn raw_ports(&self) -> impl Iterator<Item = &RawPort> {
        let sidecars = self.init_containers.iter().flatten().filter(|c| c.is_sidecar());
        self.containers.iter().flatten().chain(sidecars).flat_map(|c| c.ports.iter().flatten())
    }

    fn host_ports(&self) -> Box<[HostPort]> {
        let host_port = |p: &RawPort| {
            Some(HostPort {
                ip: p.host_ip.clone().unwrap_or_default(),
                protocol: p.protocol.clone().unwrap_or_else(|| "TCP".into()),
                port: p.host_port.filter(|&n| n > 0)?,
            })
        };
        self.raw_ports().filter_map(host_port).collect()
    }

    fn ports(&self) -> Box<[ContainerPort]> {
        let port = |p: &RawPort| {
            Some(ContainerPort {
                name: p.name.clone().unwrap_or_default(),
                protocol: p.protocol.clone().unwrap_or_else(|| "TCP".into()),
                port: p.container_port?,
            })
        };
        self.raw_ports().filter_map(port).collect()
    }
}

/// The running sum of a pod's containers.
#[derive(Default)]
struct Total {
    running: Requests,
    sidecars: Requests,
    initialising: Requests,
}

impl Total {
    fn init(&mut self, container: &Requests, sidecar: bool) {
        let mut moment = self.sidecars.clone();
        moment.add(container);
        self.initialising.raise_to(&moment);
        if sidecar {
            self.sidecars.add(container);
        }
    }

    fn sum(mut self, overhead: &Requests) -> Requests {
        self.running.add(&self.sidecars);
        self.running.raise_to(&self.initialising);
        self.running.add(overhead);
        self.running
    }
}
