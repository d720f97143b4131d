//! A Pod, as the scheduler, the endpoints and the workload controllers see it.

use super::pod_raw::RawPod;
use super::{Constraints, Index, Kind, Meta, Project, Requests, meta};
use coracle_proto::resource::PODS;
use coracle_proto::{ApiError, Object, Resource};
use jiff::Timestamp;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq)]
pub struct PodFacts {
    pub meta: Meta,
    /// Empty while unscheduled.
    pub node_name: Box<str>,
    pub phase: Phase,
    /// What the pod needs as a whole: containers, or the most demanding moment of initialisation, plus overhead.
    pub requests: Requests,
    /// As `requests`, with upstream's 100 m CPU and 200 MB for containers that name no amount: for scoring only.
    pub scored: (i64, i64),
    pub constraints: Arc<Constraints>,
    pub host_ports: Box<[HostPort]>,
    /// Of containers and sidecars, in order.
    pub ports: Box<[ContainerPort]>,
    pub host_network: bool,
    pub priority: i32,
    /// `preemptionPolicy: Never`.
    pub never_preempts: bool,
    pub scheduler_name: Box<str>,
    pub scheduling_gates: Box<[Box<str>]>,
    pub hostname: Box<str>,
    pub subdomain: Box<str>,
    /// The `Ready` condition is true, since then.
    pub ready: bool,
    pub ready_since: Option<Timestamp>,
    /// The message of a `PodScheduled` condition that is not true.
    pub unscheduled_reason: Option<Box<str>>,
    pub nominated_node: Box<str>,
    pub pod_ips: Box<[Box<str>]>,
    pub host_ip: Box<str>,
    pub start_time: Option<Timestamp>,
    /// The most restarts of any container.
    pub restarts: i32,
    /// Annotation `controller.kubernetes.io/pod-deletion-cost`.
    pub deletion_cost: i32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    #[default]
    Pending,
    Running,
    Succeeded,
    Failed,
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Empty means every address.
    pub ip: Box<str>,
    pub protocol: Box<str>,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContainerPort {
    pub name: Box<str>,
    pub protocol: Box<str>,
    pub port: u16,
}

impl PodFacts {
    /// Its containers have ended for good.
    pub fn is_terminal(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// When it has been ready for long enough to count as available; `None` while it is not ready.
    pub fn available_at(&self, min_ready_seconds: i32) -> Option<Timestamp> {
        let since = if self.ready { self.ready_since.unwrap_or(Timestamp::UNIX_EPOCH) } else { return None };
        Some(since + std::time::Duration::from_secs(min_ready_seconds.max(0).unsigned_abs().into()))
    }

    /// Upstream's `IsPodActive`.
    pub fn is_active(&self) -> bool {
        !self.is_terminal() && !self.meta.is_deleting()
    }
}

impl Project for PodFacts {
    fn project(object: &Object) -> Result<Self, ApiError> {
        let raw: RawPod<'_> = meta::decode(object)?;
        raw.facts(object.revision)
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn indexes() -> &'static [Index<Self>] {
        &[
            Index { name: Self::BY_NODE, values: |pod| vec![pod.node_name.to_string()] },
            Index { name: Self::UNOWNED, values: |pod| pod.meta.unowned_in() },
        ]
    }
}

impl PodFacts {
    /// Index of pods by node name; the empty name holds those not scheduled.
    pub const BY_NODE: &'static str = "node";
    /// Index of pods that no controller manages, by namespace.
    pub const UNOWNED: &'static str = "unowned";
}

impl Kind for PodFacts {
    const RESOURCE: Resource = PODS;
}
