//! A Service, as the endpoints controllers see it.

use super::meta::{RawMeta, decode};
use super::{Kind, Meta, Project};
use coracle_proto::resource::SERVICES;
use coracle_proto::{ApiError, Object, Resource};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFacts {
    pub meta: Meta,
    /// `None`: no selector at all, so the endpoints are somebody else's.
    pub selector: Option<BTreeMap<String, String>>,
    pub ports: Box<[ServicePort]>,
    pub cluster_ip: Box<str>,
    pub ip_families: Box<[Box<str>]>,
    /// `ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalName`.
    pub kind: Box<str>,
    pub publish_not_ready_addresses: bool,
    /// Annotations `service.kubernetes.io/headless` aside: `clusterIP: None`.
    pub headless: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    pub name: Option<Box<str>>,
    pub protocol: Option<Box<str>>,
    pub port: i32,
    pub target_port: Option<serde_json::Value>,
    pub app_protocol: Option<Box<str>>,
}

impl ServicePort {
    pub fn protocol(&self) -> &str {
        self.protocol.as_deref().unwrap_or("TCP")
    }

    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}

impl Project for ServiceFacts {
    fn project(object: &Object) -> Result<Self, ApiError> {
        let RawService { metadata, spec } = decode(object)?;
        let cluster_ip = spec.cluster_ip.unwrap_or_default();
        Ok(Self {
            meta: metadata.meta(object.revision)?,
            selector: spec.selector.filter(|s| !s.is_empty()),
            ports: spec.ports.unwrap_or_default(),
            headless: &*cluster_ip == "None",
            cluster_ip,
            ip_families: spec.ip_families.unwrap_or_default(),
            kind: spec.kind.unwrap_or_else(|| "ClusterIP".into()),
            publish_not_ready_addresses: spec.publish_not_ready_addresses.unwrap_or(false),
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl Kind for ServiceFacts {
    const RESOURCE: Resource = SERVICES;
}

#[derive(Deserialize)]
struct RawService<'a> {
    #[serde(borrow)]
    metadata: RawMeta<'a>,
    #[serde(default)]
    spec: RawSpec,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RawSpec {
    selector: Option<BTreeMap<String, String>>,
    ports: Option<Box<[ServicePort]>>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<Box<str>>,
    ip_families: Option<Box<[Box<str>]>>,
    #[serde(rename = "type")]
    kind: Option<Box<str>>,
    publish_not_ready_addresses: Option<bool>,
}
