//! The quality-of-service class, from cpu and memory of all containers.
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>

use crate::validate::{items, text};
use coracle_proto::Tree;
use coracle_proto::quantity::Quantity;

pub fn qos_class(spec: &Tree) -> &'static str {
    let (mut any, mut guaranteed) = (false, true);
    for container in items(spec, "containers").iter().chain(items(spec, "initContainers")) {
        let resources = &container["resources"];
        for name in ["cpu", "memory"] {
            let (request, limit) = (amount(&resources["requests"], name), amount(&resources["limits"], name));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// A positive amount in thousandths, as formats do not matter here.
fn amount(list: &Tree, name: &str) -> Option<i64> {
    let quantity = Quantity::parse(text(list, name)).ok()?;
    (!quantity.is_zero() && !quantity.is_negative()).then(|| quantity.milli_value())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn classes_follow_requests_and_limits() {
        let full = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}});
        let limits = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        let partly = json!({"requests": {"cpu": "1"}});
        let zero = json!({"requests": {"cpu": "0"}});
        let table = [
            (vec![json!({})], "BestEffort"),
            (vec![zero], "BestEffort"),
            (vec![full.clone()], "Guaranteed"),
            (vec![limits.clone(), full.clone()], "Guaranteed"),
            (vec![full, json!({})], "Burstable"),
            (vec![partly], "Burstable"),
        ];
        for (resources, class) in table {
            let containers: Vec<_> = resources.into_iter().map(|r| json!({"resources": r})).collect();
            assert_eq!(qos_class(&json!({"containers": containers})), class);
        }
    }
}
