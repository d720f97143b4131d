//! Requests and limits to cgroup settings, QoS class and OOM score: pure, by kubelet's formulas.

use coracle_proto::quantity::Quantity;
use coracle_runtime::Resources;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl Qos {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// Microseconds.
const CPU_PERIOD: u64 = 100_000;
const CPU_QUOTA_MIN: i64 = 1000;
const CPU_SHARES_MIN: u64 = 2;
const CPU_SHARES_MAX: u64 = 262_144;

/// What a container asks for; `None` where it says nothing. A request that is missing is the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Amounts {
    cpu_request_millis: Option<i64>,
    cpu_limit_millis: Option<i64>,
    memory_request_bytes: Option<i64>,
    memory_limit_bytes: Option<i64>,
}

fn amounts(container: &Container) -> Amounts {
    let of = |list: &str, name: &str| -> Option<Quantity> {
        let resources = container.resources.as_ref()?;
        let set = if list == "limits" { resources.limits.as_ref() } else { resources.requests.as_ref() };
        Quantity::parse(&set?.get(name)?.0).ok().filter(|q| !q.is_zero())
    };
    let (cpu, memory) = (of("limits", "cpu"), of("limits", "memory"));
    Amounts {
        cpu_request_millis: of("requests", "cpu").or(cpu).map(Quantity::milli_value),
        cpu_limit_millis: cpu.map(Quantity::milli_value),
        memory_request_bytes: of("requests", "memory").or(memory).map(Quantity::value),
        memory_limit_bytes: memory.map(Quantity::value),
    }
}

fn all(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

/// See <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>.
pub fn qos(pod: &Pod) -> Qos {
    let Some(spec) = &pod.spec else { return Qos::BestEffort };
    let amounts: Vec<Amounts> = all(spec).map(amounts).collect();
    if amounts.iter().all(|a| *a == Amounts::default()) {
        return Qos::BestEffort;
    }
    let guaranteed = amounts.iter().all(|a| {
        let set = a.cpu_limit_millis.is_some() && a.memory_limit_bytes.is_some();
        set && a.cpu_request_millis == a.cpu_limit_millis && a.memory_request_bytes == a.memory_limit_bytes
    });
    if guaranteed { Qos::Guaranteed } else { Qos::Burstable }
}

fn shares(millis: i64) -> u64 {
    (u64::try_from(millis).unwrap_or(0).saturating_mul(1024) / 1000).clamp(CPU_SHARES_MIN, CPU_SHARES_MAX)
}

fn quota(millis: i64) -> i64 {
    (millis.saturating_mul(CPU_PERIOD as i64) / 1000).max(CPU_QUOTA_MIN)
}

pub fn of_container(pod: &Pod, container: &Container, node_memory_bytes: i64) -> Resources {
    let amounts = amounts(container);
    Resources {
        cpu_shares: Some(shares(amounts.cpu_request_millis.unwrap_or(0))),
        cpu_quota: amounts.cpu_limit_millis.map(quota),
        cpu_period: amounts.cpu_limit_millis.map(|_| CPU_PERIOD),
        memory_limit_bytes: amounts.memory_limit_bytes,
        pids_limit: None,
        oom_score_adj: oom_score(qos(pod), amounts.memory_request_bytes.unwrap_or(0), node_memory_bytes),
    }
}

/// The pod's own cgroup: the sum, limited only where every container is.
pub fn of_pod(pod: &Pod) -> Resources {
    let Some(spec) = &pod.spec else { return Resources::default() };
    let steady: Vec<Amounts> = spec.containers.iter().chain(sidecars(spec)).map(amounts).collect();
    let once: Vec<Amounts> = spec.init_containers.iter().flatten().filter(|c| !is_sidecar(c)).map(amounts).collect();
    let total = |of: fn(&Amounts) -> Option<i64>| -> Option<i64> {
        let sum = steady.iter().map(of).try_fold(0i64, |sum, a| Some(sum.saturating_add(a?)))?;
        once.iter().map(of).try_fold(sum, |most, a| Some(most.max(a?)))
    };
    let requested: i64 = steady.iter().filter_map(|a| a.cpu_request_millis).sum();
    let requested = once.iter().filter_map(|a| a.cpu_request_millis).fold(requested, i64::max);
    Resources {
        cpu_shares: Some(shares(requested)),
        cpu_quota: total(|a| a.cpu_limit_millis).map(quota),
        cpu_period: total(|a| a.cpu_limit_millis).map(|_| CPU_PERIOD),
        memory_limit_bytes: total(|a| a.memory_limit_bytes),
        pids_limit: None,
        oom_score_adj: 0,
    }
}

/// An init container that goes on running beside the others.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn sidecars(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().filter(|c| is_sidecar(c))
}

/// See <https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/#node-out-of-memory-behavior>.
fn oom_score(qos: Qos, memory_request_bytes: i64, node_memory_bytes: i64) -> i32 {
    match qos {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let share = i128::from(memory_request_bytes) * 1000 / i128::from(node_memory_bytes.max(1));
            i32::try_from(1000 - share).unwrap_or(3).clamp(3, 999)
        }
    }
}

/// The pod's cgroup below the node's, as kubelet lays its tree out.
pub fn cgroup(node_cgroup: &str, pod: &Pod) -> String {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    match qos(pod) {
        Qos::Guaranteed => format!("{node_cgroup}/pod{uid}"),
        Qos::Burstable => format!("{node_cgroup}/burstable/pod{uid}"),
        Qos::BestEffort => format!("{node_cgroup}/besteffort/pod{uid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(containers: &[Value], init: &[Value]) -> Pod {
        let build = |resources: &Value| json!({"name": "c", "resources": resources});
        let containers: Vec<Value> = containers.iter().map(build).collect();
        let init: Vec<Value> = init.iter().map(build).collect();
        let spec = json!({"containers": containers, "initContainers": init});
        serde_json::from_value(json!({"metadata": {"uid": "u"}, "spec": spec})).expect("a pod")
    }

    #[test]
    fn qos_oom_score_and_cgroup() {
        let (full, request) =
            (json!({"limits": {"cpu": "1", "memory": "1Gi"}}), json!({"requests": {"memory": "256Mi"}}));
        let table = [
            (vec![json!({})], Qos::BestEffort, 1000, "n/besteffort/podu"),
            (vec![full.clone()], Qos::Guaranteed, -997, "n/podu"),
            (vec![full.clone(), json!({})], Qos::Burstable, 3, "n/burstable/podu"),
            (vec![request], Qos::Burstable, 750, "n/burstable/podu"),
            (vec![json!({"requests": {"cpu": "1"}})], Qos::Burstable, 999, "n/burstable/podu"),
        ];
        for (containers, class, score, path) in table {
            let pod = pod(&containers, &[]);
            let first = &pod.spec.as_ref().expect("a spec").containers[0];
            assert_eq!(qos(&pod), class, "{containers:?}");
            assert_eq!(of_container(&pod, first, 1 << 30).oom_score_adj, score, "{containers:?}");
            assert_eq!(cgroup("n", &pod), path);
        }
        assert_eq!(qos(&pod(&[full], &[json!({})])), Qos::Burstable);
    }

    #[test]
    fn cgroup_numbers() {
        let pod = pod(&[json!({"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "250m"}})], &[]);
        let of = of_container(&pod, &pod.spec.as_ref().expect("a spec").containers[0], 1 << 30);
        assert_eq!((of.cpu_shares, of.cpu_quota, of.cpu_period), (Some(256), Some(50_000), Some(100_000)));
        assert_eq!(of.memory_limit_bytes, Some(64 << 20));
        assert_eq!(of_pod(&pod).memory_limit_bytes, Some(64 << 20));
    }

    #[test]
    fn a_pod_is_limited_only_where_all_its_containers_are() {
        let limited = json!({"limits": {"cpu": "1", "memory": "64Mi"}});
        let both =
            of_pod(&pod(&[limited.clone(), limited.clone()], &[json!({"limits": {"cpu": "3", "memory": "32Mi"}})]));
        assert_eq!((both.cpu_quota, both.memory_limit_bytes), (Some(300_000), Some(128 << 20)));
        let one = of_pod(&pod(&[limited, json!({})], &[]));
        assert_eq!((one.cpu_quota, one.memory_limit_bytes, one.cpu_shares), (None, None, Some(1024)));
        assert_eq!(of_pod(&pod(&[json!({})], &[])).cpu_shares, Some(2));
    }
}
