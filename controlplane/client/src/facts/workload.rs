//! Workloads that own pods (Deployment, ReplicaSet), and Leases: what their neighbours need to find and match them.

use super::meta::{RawMeta, decode, instant};
use super::{Index, Meta, Project};
use coracle_proto::selector::LabelSelector;
use coracle_proto::{ApiError, Object};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;

#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadFacts {
    pub meta: Meta,
    /// Matches nothing where `spec.selector` is missing or unreadable.
    pub selector: Option<LabelSelector>,
    pub replicas: i32,
    /// `spec.strategy.type: Recreate`.
    pub recreates: bool,
    /// `status.replicas`, `status.readyReplicas`, `status.availableReplicas`.
    pub status: (i32, i32, i32),
}

impl WorkloadFacts {
    /// Index of those that no controller manages, by namespace.
    pub const UNOWNED: &'static str = "unowned";

    /// Whether it would select an object with these labels. An empty selector selects nothing here.
    pub fn selects(&self, labels: &super::Labels) -> bool {
        self.selector.as_ref().is_some_and(|s| !s.is_empty() && s.matches(labels))
    }
}

impl Project for WorkloadFacts {
    fn project(object: &Object) -> Result<Self, ApiError> {
        let RawWorkload { metadata, spec, status } = decode(object)?;
        Ok(Self {
            meta: metadata.meta(object.revision)?,
            selector: LabelSelector::from_tree(&spec.selector).ok().flatten(),
            replicas: spec.replicas.unwrap_or(1),
            recreates: spec.strategy["type"] == "Recreate",
            status: (status.replicas, status.ready_replicas, status.available_replicas),
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn indexes() -> &'static [Index<Self>] {
        &[Index { name: Self::UNOWNED, values: |workload| workload.meta.unowned_in() }]
    }
}

#[derive(Deserialize)]
struct RawWorkload<'a> {
    #[serde(borrow)]
    metadata: RawMeta<'a>,
    #[serde(default)]
    spec: RawSpec,
    #[serde(default)]
    status: RawStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawSpec {
    selector: Value,
    strategy: Value,
    replicas: Option<i32>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RawStatus {
    replicas: i32,
    ready_replicas: i32,
    available_replicas: i32,
}

/// A Lease: who renewed it and when.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaseFacts {
    pub meta: Meta,
    pub holder: Box<str>,
    pub renewed: Option<Timestamp>,
}

impl Project for LeaseFacts {
    fn project(object: &Object) -> Result<Self, ApiError> {
        let RawLease { metadata, spec } = decode(object)?;
        Ok(Self {
            meta: metadata.meta(object.revision)?,
            holder: spec.holder_identity.unwrap_or_default().as_ref().into(),
            renewed: instant(spec.renew_time.as_deref()),
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

#[derive(Deserialize)]
struct RawLease<'a> {
    #[serde(borrow)]
    metadata: RawMeta<'a>,
    #[serde(borrow, default)]
    spec: RawLeaseSpec<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct RawLeaseSpec<'a> {
    #[serde(borrow)]
    holder_identity: Option<Cow<'a, str>>,
    #[serde(borrow)]
    renew_time: Option<Cow<'a, str>>,
}
