//! `spec.nodeName`, where something but the scheduler wrote it.

use crate::explanation::Refusal;
use crate::node::NodeState;
use coracle_client::facts::PodFacts;

pub fn check(pod: &PodFacts, node: &NodeState) -> Result<(), Refusal> {
    if pod.node_name.is_empty() || *pod.node_name == *node.name() {
        return Ok(());
    }
    Err(Refusal::unresolvable("node(s) didn't match the requested node name"))
}
