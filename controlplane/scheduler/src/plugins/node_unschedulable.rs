//! Cordoned nodes take no new pods, but those that tolerate `node.kubernetes.io/unschedulable`.

use super::taint_toleration::tolerates;
use crate::explanation::Refusal;
use crate::node::NodeState;
use coracle_client::facts::PodFacts;
use k8s_openapi::api::core::v1::Taint;

pub fn check(pod: &PodFacts, node: &NodeState) -> Result<(), Refusal> {
    if !node.facts.unschedulable {
        return Ok(());
    }
    let taint =
        Taint { key: "node.kubernetes.io/unschedulable".into(), effect: "NoSchedule".into(), ..Taint::default() };
    if pod.constraints.tolerations.iter().any(|t| tolerates(t, &taint)) {
        return Ok(());
    }
    Err(Refusal::unresolvable("node(s) were unschedulable"))
}
