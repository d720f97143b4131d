//! A Node, as the scheduler and the node lifecycle see it.

use super::meta::{RawMeta, decode, instant};
use super::pod_raw::RawCondition;
use super::requests::RawAmounts;
use super::{Kind, Meta, Project, Requests};
use coracle_proto::resource::NODES;
use coracle_proto::{ApiError, Object, Resource};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Taint;
use serde::Deserialize;

#[derive(Clone, Debug, PartialEq)]
pub struct NodeFacts {
    pub meta: Meta,
    /// What pods may ask for; `allocatable.pods` is how many.
    pub allocatable: Requests,
    pub capacity: Requests,
    pub taints: Box<[Taint]>,
    /// `spec.unschedulable`: cordoned.
    pub unschedulable: bool,
    pub conditions: Box<[NodeCondition]>,
    pub images: Box<[NodeImage]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeCondition {
    pub kind: Box<str>,
    /// `True`, `False` or `Unknown`.
    pub status: Box<str>,
    pub changed: Option<Timestamp>,
    pub heartbeat: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub struct NodeImage {
    pub names: Box<[Box<str>]>,
    pub size_bytes: i64,
}

impl NodeFacts {
    pub fn condition(&self, kind: &str) -> Option<&NodeCondition> {
        self.conditions.iter().find(|c| &*c.kind == kind)
    }

    pub fn is_ready(&self) -> bool {
        self.condition("Ready").is_some_and(|c| &*c.status == "True")
    }
}

impl Project for NodeFacts {
    fn project(object: &Object) -> Result<Self, ApiError> {
        let raw: RawNode<'_> = decode(object)?;
        let RawNode { metadata, spec, status } = raw;
        let amounts = |raw: Option<RawAmounts<'_>>| raw.map(|a| a.requests()).unwrap_or_default();
        let capacity = amounts(status.capacity);
        Ok(Self {
            meta: metadata.meta(object.revision)?,
            // A node that reports no allocatable offers its capacity, as the API server's default has it.
            allocatable: status.allocatable.map_or_else(|| capacity.clone(), |a| a.requests()),
            capacity,
            taints: spec.taints.unwrap_or_default(),
            unschedulable: spec.unschedulable.unwrap_or(false),
            conditions: status.conditions.into_iter().flatten().map(NodeCondition::from_raw).collect(),
            images: status.images.unwrap_or_default(),
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl Kind for NodeFacts {
    const RESOURCE: Resource = NODES;
}

#[derive(Deserialize)]
struct RawNode<'a> {
    #[serde(borrow)]
    metadata: RawMeta<'a>,
    #[serde(default)]
    spec: RawSpec,
    #[serde(borrow, default)]
    status: RawStatus<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawSpec {
    taints: Option<Box<[Taint]>>,
    unschedulable: Option<bool>,
}

#[derive(Deserialize, Default)]
struct RawStatus<'a> {
    #[serde(borrow)]
    capacity: Option<RawAmounts<'a>>,
    #[serde(borrow)]
    allocatable: Option<RawAmounts<'a>>,
    #[serde(borrow)]
    conditions: Option<Vec<RawCondition<'a>>>,
    images: Option<Box<[NodeImage]>>,
}

impl NodeCondition {
    fn from_raw(raw: RawCondition<'_>) -> Self {
        Self {
            kind: raw.r#type.into(),
            status: raw.status.into(),
            changed: instant(raw.last_transition_time.as_deref()),
            heartbeat: instant(raw.last_heartbeat_time.as_deref()),
        }
    }
}
