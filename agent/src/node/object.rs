//! The Node object as JSON, purely from facts.

use super::host::{HostFacts, Pressure};
use super::keeper::NodeSpec;
use crate::limits;
use coracle_proto::{Tree, time};
use coracle_runtime::Image;
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;

/// The control plane and clients read a Kubernetes version here; ours is the build part.
const KUBELET_VERSION: &str = concat!("v1.33.0+coracle-", env!("CARGO_PKG_VERSION"));
/// What upstream keeps back from pods for the hard eviction threshold.
const MEMORY_RESERVED_BYTES: i64 = 100 << 20;
/// Names shown per image, as upstream.
const IMAGE_NAMES_MAX: usize = 5;

/// Everything that goes into the status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    pub pressure: Pressure,
    pub images: Vec<Image>,
    pub runtime_version: String,
}

pub fn labels(spec: &NodeSpec, host: &HostFacts) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        ("kubernetes.io/hostname".to_owned(), spec.name.clone()),
        ("kubernetes.io/os".to_owned(), "linux".to_owned()),
        ("kubernetes.io/arch".to_owned(), host.architecture.to_owned()),
        ("beta.kubernetes.io/os".to_owned(), "linux".to_owned()),
        ("beta.kubernetes.io/arch".to_owned(), host.architecture.to_owned()),
    ]);
    labels.extend(spec.labels.clone());
    labels
}

/// The object to register, without its status.
pub fn node(spec: &NodeSpec, host: &HostFacts) -> Tree {
    let mut node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": spec.name, "labels": labels(spec, host)},
        "spec": {},
    });
    if let Some(cidr) = spec.pod_cidr {
        node["spec"] = json!({"podCIDR": cidr.to_string(), "podCIDRs": [cidr.to_string()]});
    }
    node
}

/// The whole status but for what others own. `previous` are the conditions the API has.
pub fn status(spec: &NodeSpec, host: &HostFacts, observed: &Observed, previous: &Tree, now: Timestamp) -> Tree {
    json!({
        "capacity": resources(spec, host, 0),
        "allocatable": resources(spec, host, MEMORY_RESERVED_BYTES),
        "addresses": [
            {"type": "InternalIP", "address": spec.ip.to_string()},
            {"type": "Hostname", "address": spec.name},
        ],
        "conditions": conditions(observed.pressure, previous, now),
        "nodeInfo": {
            "architecture": host.architecture, "operatingSystem": "linux", "osImage": host.os_image,
            "kernelVersion": host.kernel, "machineID": host.machine_id, "bootID": host.boot_id,
            "systemUUID": host.system_uuid, "containerRuntimeVersion": observed.runtime_version,
            "kubeletVersion": KUBELET_VERSION, "kubeProxyVersion": KUBELET_VERSION,
        },
        "images": images(&observed.images),
    })
}

/// A status without the times of its heartbeats: equal means nothing to tell.
pub fn without_heartbeats(status: &Tree) -> Tree {
    let mut status = status.clone();
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        if let Some(condition) = condition.as_object_mut() {
            condition.remove("lastHeartbeatTime");
        }
    }
    status
}

fn resources(spec: &NodeSpec, host: &HostFacts, reserved_memory_bytes: i64) -> Tree {
    let cpu = if host.cpu_millis % 1000 == 0 {
        (host.cpu_millis / 1000).to_string()
    } else {
        format!("{}m", host.cpu_millis)
    };
    let disk_kib = host.disk_bytes / 1024;
    let disk = if reserved_memory_bytes == 0 { disk_kib } else { disk_kib / 10 * 9 };
    let memory = (host.memory_bytes - reserved_memory_bytes).max(0) / 1024;
    json!({
        "cpu": cpu, "memory": format!("{memory}Ki"), "pods": spec.max_pods.to_string(),
        "ephemeral-storage": format!("{disk}Ki"),
    })
}

fn conditions(pressure: Pressure, previous: &Tree, now: Timestamp) -> Vec<Tree> {
    let of = |kind, bad, good_text: (&str, &str), bad_text: (&str, &str)| {
        let (status, (reason, message)) = if bad { ("True", bad_text) } else { ("False", good_text) };
        condition(kind, status, reason, message, previous, now)
    };
    let mut all = vec![
        of(
            "MemoryPressure",
            pressure.memory,
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
        ),
        of(
            "DiskPressure",
            pressure.disk,
            ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ("KubeletHasDiskPressure", "kubelet has disk pressure"),
        ),
        of(
            "PIDPressure",
            pressure.pids,
            ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
        ),
        condition("Ready", "True", "KubeletReady", "kubelet is posting ready status", previous, now),
    ];
    let ours: Vec<Tree> = all.iter().map(|c| c["type"].clone()).collect();
    let others = previous.as_array().into_iter().flatten().filter(|c| !ours.contains(&c["type"]));
    all.extend(others.cloned());
    all
}

fn condition(kind: &str, status: &str, reason: &str, message: &str, previous: &Tree, now: Timestamp) -> Tree {
    let before = previous.as_array().into_iter().flatten().find(|c| c["type"] == kind && c["status"] == status);
    let since = before.and_then(|c| c["lastTransitionTime"].as_str()).map_or_else(|| time::render(now), str::to_owned);
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastHeartbeatTime": time::render(now), "lastTransitionTime": since,
    })
}

/// The largest first, as upstream lists them.
fn images(images: &[Image]) -> Vec<Tree> {
    let mut sorted: Vec<&Image> = images.iter().collect();
    sorted.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.id.cmp(&b.id)));
    let names = |image: &Image| -> Vec<String> {
        image.digests.iter().chain(&image.names).take(IMAGE_NAMES_MAX).cloned().collect()
    };
    let listed = sorted.into_iter().take(limits::NODE_IMAGES_MAX);
    listed.map(|image| json!({"names": names(image), "sizeBytes": image.bytes})).collect()
}

pub fn lease(name: &str, node_uid: &str, now: Timestamp) -> Tree {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": name, "namespace": "kube-node-lease",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": node_uid}],
        },
        "spec": {
            "holderIdentity": name, "leaseDurationSeconds": limits::LEASE_DURATION_SECONDS,
            "renewTime": time::render_micro(now),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> NodeSpec {
        NodeSpec {
            name: "n".into(),
            ip: "10.0.0.1".parse().expect("an address"),
            pod_cidr: None,
            labels: BTreeMap::from([("zone".into(), "z".into())]),
            max_pods: 110,
        }
    }

    fn host() -> HostFacts {
        HostFacts {
            cpu_millis: 1500,
            memory_bytes: 1 << 30,
            disk_bytes: 100 << 20,
            architecture: "amd64",
            ..HostFacts::default()
        }
    }

    #[test]
    fn resources_are_written_as_upstream_writes_them() {
        let now = Timestamp::UNIX_EPOCH;
        let status = status(&spec(), &host(), &Observed::default(), &Tree::Null, now);
        let capacity = json!({"cpu": "1500m", "memory": "1048576Ki", "pods": "110", "ephemeral-storage": "102400Ki"});
        assert_eq!(status["capacity"], capacity);
        assert_eq!(status["allocatable"]["memory"], "946176Ki");
        assert_eq!(node(&spec(), &host())["metadata"]["labels"]["zone"], "z");
        assert_eq!(node(&spec(), &host())["metadata"]["labels"]["kubernetes.io/arch"], "amd64");
    }

    #[test]
    fn a_condition_keeps_its_transition_time_and_others_are_kept() {
        let early = Timestamp::UNIX_EPOCH;
        let late = early + std::time::Duration::from_secs(60);
        let mut previous = json!(conditions(Pressure::default(), &Tree::Null, early));
        previous.as_array_mut().expect("a list").push(json!({"type": "NetworkUnavailable", "status": "False"}));
        let next = conditions(Pressure { memory: true, ..Pressure::default() }, &previous, late);
        let find = |kind: &str| next.iter().find(|c| c["type"] == kind).expect("is there");
        assert_eq!(find("Ready")["lastTransitionTime"], time::render(early));
        assert_eq!(find("Ready")["lastHeartbeatTime"], time::render(late));
        assert_eq!(find("MemoryPressure")["lastTransitionTime"], time::render(late));
        assert_eq!(find("MemoryPressure")["status"], "True");
        assert_eq!(find("NetworkUnavailable")["status"], "False");
    }
}
