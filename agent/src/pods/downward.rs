//! What a pod may ask about itself: `fieldRef` and `resourceFieldRef`.

use coracle_proto::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// What the node adds to the pod's own fields.
#[derive(Clone, Debug, Default)]
pub struct NodeContext {
    pub node_ip: Option<Ipv4Addr>,
    pub pod_ip: Option<Ipv4Addr>,
    /// What stands for a limit that is not set.
    pub allocatable_cpu_millis: i64,
    pub allocatable_memory_bytes: i64,
    pub allocatable_disk_bytes: i64,
}

/// Upstream's message where a path names nothing.
pub fn field(pod: &Pod, node: &NodeContext, path: &str) -> Result<String, String> {
    let metadata = &pod.metadata;
    if let Some((map, key)) = subscript(path) {
        let values = match map {
            "metadata.labels" => metadata.labels.as_ref(),
            "metadata.annotations" => metadata.annotations.as_ref(),
            _ => return Err(format!("fieldPath {path:?} does not support subscript")),
        };
        return Ok(values.and_then(|v| v.get(key)).cloned().unwrap_or_default());
    }
    let spec = pod.spec.as_ref();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let address = |ip: Option<Ipv4Addr>| ip.map(|ip| ip.to_string()).unwrap_or_default();
    Ok(match path {
        "metadata.name" => text(&metadata.name),
        "metadata.namespace" => text(&metadata.namespace),
        "metadata.uid" => text(&metadata.uid),
        "metadata.labels" => formatted(metadata.labels.as_ref()),
        "metadata.annotations" => formatted(metadata.annotations.as_ref()),
        "spec.nodeName" => spec.map(|s| text(&s.node_name)).unwrap_or_default(),
        "spec.serviceAccountName" => spec.map(|s| text(&s.service_account_name)).unwrap_or_default(),
        "status.hostIP" | "status.hostIPs" => address(node.node_ip),
        "status.podIP" | "status.podIPs" => address(node.pod_ip),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

/// `metadata.labels['a']` as its two parts.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// One `key="value"` per line, sorted: the form upstream writes into files.
fn formatted(values: Option<&BTreeMap<String, String>>) -> String {
    let lines = values.into_iter().flatten().map(|(k, v)| format!("{k}={v:?}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// A container's own limit or request, in units of the divisor, rounded up.
pub fn resource(container: &Container, node: &NodeContext, selector: &ResourceFieldSelector) -> Result<String, String> {
    let divisor = match &selector.divisor {
        None => Quantity::units(1),
        Some(text) => Quantity::parse(&text.0).map_err(|e| format!("divisor {:?}: {e}", text.0))?,
    };
    let divisor = if divisor.is_zero() { Quantity::units(1) } else { divisor };
    let (list, name) = selector.resource.split_once('.').unwrap_or((selector.resource.as_str(), ""));
    let resources = container.resources.as_ref();
    let set = match list {
        "limits" => resources.and_then(|r| r.limits.as_ref()),
        "requests" => resources.and_then(|r| r.requests.as_ref()),
        _ => return Err(format!("unsupported container resource : {}", selector.resource)),
    };
    let quantity = set.and_then(|s| s.get(name)).map(|q| Quantity::parse(&q.0)).transpose();
    let quantity = quantity.map_err(|e| format!("{}: {e}", selector.resource))?;
    let default = |amount: Quantity| if list == "limits" { amount } else { Quantity::ZERO };
    let (amount, unit) = match name {
        "cpu" => {
            let cpu = quantity.unwrap_or_else(|| default(Quantity::millis(node.allocatable_cpu_millis)));
            (cpu.milli_value(), divisor.milli_value())
        }
        "memory" => {
            let memory = quantity.unwrap_or_else(|| default(Quantity::bytes(node.allocatable_memory_bytes)));
            (memory.value(), divisor.value())
        }
        "ephemeral-storage" => {
            let disk = quantity.unwrap_or_else(|| default(Quantity::bytes(node.allocatable_disk_bytes)));
            (disk.value(), divisor.value())
        }
        _ if name.starts_with("hugepages-") => (quantity.unwrap_or(Quantity::ZERO).value(), divisor.value()),
        _ => return Err(format!("unsupported container resource : {}", selector.resource)),
    };
    Ok(divided_up(amount, unit.max(1)).to_string())
}

fn divided_up(amount: i64, unit: i64) -> i64 {
    amount / unit + i64::from(amount % unit > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_of_the_pod() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "d", "uid": "u", "labels": {"b": "2", "a": "1\"x"}},
            "spec": {"nodeName": "n", "serviceAccountName": "sa", "containers": []},
        }))
        .expect("a pod");
        let node = NodeContext { pod_ip: "10.1.0.5".parse().ok(), ..NodeContext::default() };
        let table = [
            ("metadata.name", "p"),
            ("metadata.labels", "a=\"1\\\"x\"\nb=\"2\""),
            ("metadata.labels['b']", "2"),
            ("metadata.annotations['none']", ""),
            ("spec.nodeName", "n"),
            ("spec.serviceAccountName", "sa"),
            ("status.podIP", "10.1.0.5"),
        ];
        for (path, expected) in table {
            assert_eq!(field(&pod, &node, path).as_deref(), Ok(expected), "{path}");
        }
        assert!(field(&pod, &node, "spec.dnsPolicy").is_err());
        assert!(field(&pod, &node, "spec.x['y']").is_err());
    }

    #[test]
    fn resources_are_divided_and_rounded_up() {
        let container: Container = serde_json::from_value(json!({
            "name": "c", "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "250m"}},
        }))
        .expect("a container");
        let node = NodeContext {
            allocatable_disk_bytes: 10 << 30,
            allocatable_memory_bytes: 1 << 30,
            ..NodeContext::default()
        };
        let table = [
            ("limits.cpu", None, "2"),
            ("limits.cpu", Some("1m"), "1500"),
            ("requests.cpu", Some("1"), "1"),
            ("limits.memory", None, "67108864"),
            ("limits.memory", Some("1Mi"), "64"),
            ("requests.memory", Some("1Mi"), "0"),
            ("limits.ephemeral-storage", Some("1Gi"), "10"),
        ];
        for (name, divisor, expected) in table {
            let selector = json!({"resource": name, "divisor": divisor.unwrap_or("0")});
            let selector = serde_json::from_value(selector).expect("a selector");
            assert_eq!(resource(&container, &node, &selector).as_deref(), Ok(expected), "{name} {divisor:?}");
        }
        let bad = serde_json::from_value(json!({"resource": "limits.bananas"})).expect("a selector");
        assert!(resource(&container, &node, &bad).is_err());
    }
}
