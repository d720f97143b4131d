//! A pod's namespaces and its place in the network and the cgroup tree: made, given back, taken down.

use super::context::Context;
use super::resources;
use super::state::SandboxFacts;
use crate::volumes::{hostname, remove_below, write_etc};
use coracle_network::{HostPort, PodLink, Protocol};
use coracle_runtime::{PodIdentity, Sandbox, SandboxId, SandboxSpec, ensure_pod_cgroup, remove_pod_cgroup};
use k8s_openapi::api::core::v1::{ContainerPort, Pod, PodSpec};
use std::io;
use std::net::Ipv4Addr;

pub fn identity(pod: &Pod) -> PodIdentity {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    PodIdentity {
        namespace: text(&pod.metadata.namespace),
        name: text(&pod.metadata.name),
        uid: text(&pod.metadata.uid),
    }
}

fn is_host_network(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|s| s.host_network).unwrap_or(false)
}

fn spec(context: &Context, pod: &Pod, spec: &PodSpec) -> SandboxSpec {
    let sysctls = spec.security_context.iter().flat_map(|s| s.sysctls.iter().flatten());
    SandboxSpec {
        pod: identity(pod),
        hostname: if is_host_network(pod) { context.node_name.clone() } else { hostname(pod) },
        host_network: is_host_network(pod),
        host_pid: spec.host_pid.unwrap_or(false),
        host_ipc: spec.host_ipc.unwrap_or(false),
        share_pid: spec.share_process_namespace.unwrap_or(false),
        sysctls: sysctls.map(|s| (s.name.clone(), s.value.clone())).collect(),
        cgroup: context.cgroup_of(pod),
    }
}

/// The error is what kubelet's event `FailedCreatePodSandBox` says.
pub async fn prepare(context: &Context, pod: &Pod) -> Result<SandboxFacts, String> {
    let pod_spec = pod.spec.clone().unwrap_or_default();
    let (cgroup, limits) = (context.cgroup_of(pod), resources::of_pod(pod));
    blocking(move || ensure_pod_cgroup(&cgroup, &limits).map_err(io::Error::other)).await?;
    let sandbox = context.runtime.run_sandbox(&spec(context, pod, &pod_spec)).await.map_err(|e| e.to_string())?;
    match connect(context, pod, &sandbox).await {
        Ok(facts) => Ok(facts),
        Err(why) => {
            if let Err(error) = context.runtime.remove_sandbox(&sandbox.id).await {
                tracing::warn!(%error, "a sandbox that could not be connected could not be removed");
            }
            Err(why)
        }
    }
}

/// Connects a sandbox, or finds it connected; writes what depends on its address.
pub async fn connect(context: &Context, pod: &Pod, sandbox: &Sandbox) -> Result<SandboxFacts, String> {
    let ip = match &sandbox.netns {
        None => context.node_ip,
        Some(netns) => {
            let link = PodLink { id: sandbox.pod.uid.clone(), netns: netns.clone(), host_ports: host_ports(pod) };
            context.network.attach(&link).await.map_err(|e| e.to_string())?
        }
    };
    let (folder, cluster, owned) = (context.folder(&sandbox.pod.uid).etc(), context.cluster.clone(), pod.clone());
    let written = tokio::task::spawn_blocking(move || write_etc(&folder, &owned, &cluster, Some(ip))).await;
    written.map_err(|e| e.to_string())?.map_err(|e| format!("writing the pod's /etc files: {e}"))?;
    Ok(SandboxFacts { id: sandbox.id.clone(), ip: Some(ip), netns: sandbox.netns.clone(), alive: sandbox.ready })
}

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let spec = pod.spec.iter();
    let containers = spec.flat_map(|s| s.init_containers.iter().flatten().chain(&s.containers));
    containers.flat_map(|c| c.ports.iter().flatten()).filter_map(host_port).collect()
}

fn host_port(port: &ContainerPort) -> Option<HostPort> {
    let number = |n: i32| u16::try_from(n).ok().filter(|n| *n > 0);
    Some(HostPort {
        protocol: match port.protocol.as_deref() {
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            _ => Protocol::Tcp,
        },
        host_ip: port.host_ip.as_deref().and_then(|ip| ip.parse::<Ipv4Addr>().ok()).filter(|ip| !ip.is_unspecified()),
        host_port: port.host_port.and_then(number)?,
        pod_port: number(port.container_port)?,
    })
}

/// Of a pod whose containers ended: the address is free again, the volumes are gone, logs stay.
pub async fn release(context: &Context, uid: &str) -> Result<(), String> {
    context.network.detach(uid).await.map_err(|e| e.to_string())?;
    let folder = context.folder(uid).0;
    blocking(move || {
        remove_below(&folder.join("volume-subpaths"))?;
        remove_below(&folder.join("volumes"))
    })
    .await
}

/// Everything of the pod goes.
pub async fn tear_down(context: &Context, pod: &Pod, sandbox: Option<&SandboxId>) -> Result<(), String> {
    if let Some(id) = sandbox {
        context.runtime.remove_sandbox(id).await.map_err(|e| e.to_string())?;
    }
    let cgroup = context.cgroup_of(pod);
    blocking(move || remove_pod_cgroup(&cgroup).map_err(io::Error::other)).await?;
    remove_all(context, &identity(pod).uid).await
}

/// What is left of a pod beside its sandbox.
pub async fn remove_all(context: &Context, uid: &str) -> Result<(), String> {
    context.network.detach(uid).await.map_err(|e| e.to_string())?;
    let folder = context.folder(uid).0;
    blocking(move || remove_below(&folder)).await
}

async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> Result<(), String> {
    tokio::task::spawn_blocking(work).await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn host_ports_are_those_that_are_asked_for() {
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [{"name": "c", "ports": [
            {"containerPort": 80, "hostPort": 8080, "hostIP": "127.0.0.1"},
            {"containerPort": 81, "hostPort": 8081, "hostIP": "0.0.0.0", "protocol": "UDP"},
            {"containerPort": 82},
        ]}]}}))
        .expect("a pod");
        let port = |protocol, host_ip: Option<&str>, host_port, pod_port| HostPort {
            protocol,
            host_ip: host_ip.map(|ip| ip.parse().expect("an address")),
            host_port,
            pod_port,
        };
        let expected = [port(Protocol::Tcp, Some("127.0.0.1"), 8080, 80), port(Protocol::Udp, None, 8081, 81)];
        assert_eq!(host_ports(&pod), expected);
    }
}
