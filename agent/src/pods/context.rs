//! What every pod's worker shares.

use super::downward::NodeContext;
use super::resources;
use super::status::Place;
use super::statuses::Statuses;
use crate::checkpoint::Checkpoint;
use crate::config::ClusterFacts;
use crate::events::{Event, Events};
use crate::link::Link;
use crate::node::HostFacts;
use crate::objects::ObjectCache;
use crate::services::Services;
use crate::volumes::PodFolder;
use coracle_network::Network;
use coracle_runtime::Runtime;
use k8s_openapi::api::core::v1::Pod;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Shared by all workers of the node.
pub struct Context {
    pub node_name: String,
    pub node_ip: Ipv4Addr,
    pub cluster: ClusterFacts,
    pub host: HostFacts,
    pub paths: Paths,
    /// The node's own cgroup.
    pub cgroup: String,
    pub runtime: Arc<dyn Runtime>,
    /// What `containerID` begins with, e.g. `docker`.
    pub runtime_scheme: String,
    pub network: Network,
    pub link: Link,
    pub objects: ObjectCache,
    pub services: Services,
    pub events: Events,
    pub statuses: Statuses,
    pub checkpoint: Checkpoint,
    /// Pulls at once.
    pub pulls: Semaphore,
}

/// Where the agent keeps things.
#[derive(Clone, Debug)]
pub struct Paths {
    pub pods: PathBuf,
    pub seccomp: PathBuf,
}

impl Context {
    pub fn folder(&self, uid: &str) -> PodFolder {
        PodFolder::of(&self.paths.pods, uid)
    }

    pub fn cgroup_of(&self, pod: &Pod) -> String {
        resources::cgroup(&self.cgroup, pod)
    }

    pub fn node_context(&self, pod_ip: Option<Ipv4Addr>) -> NodeContext {
        NodeContext {
            node_ip: Some(self.node_ip),
            pod_ip,
            allocatable_cpu_millis: self.host.cpu_millis,
            allocatable_memory_bytes: self.host.memory_bytes,
            allocatable_disk_bytes: self.host.disk_bytes,
        }
    }

    /// What every status says of where the pod is.
    pub fn place(&self) -> Place<'_> {
        Place { node_ip: self.node_ip, runtime_scheme: &self.runtime_scheme }
    }

    pub fn normal(&self, pod: &Pod, reason: &'static str, message: impl Into<String>) {
        self.events.emit(Event::about(pod, false, reason, message));
    }

    pub fn warn(&self, pod: &Pod, reason: &'static str, message: impl Into<String>) {
        self.events.emit(Event::about(pod, true, reason, message));
    }

    pub fn container_event(
        &self,
        pod: &Pod,
        container: &str,
        warning: bool,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.events.emit(Event::about(pod, warning, reason, message).of_container(pod, container));
    }
}
