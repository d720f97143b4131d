//! Nodes that have the pod's images already are better, the more so the bigger the images are and the more nodes have
//! them: else a few nodes that happen to have an image would draw all its pods.

use super::Rate;
use crate::images::Sizes;
use crate::node::NodeState;
use crate::snapshot::Snapshot;
use coracle_client::facts::PodFacts;

const MEGABYTE: f64 = 1024.0 * 1024.0;
/// Fewer bytes than that are pulled in no time.
const LEAST: f64 = 23.0 * MEGABYTE;
/// Per container; more makes no difference.
const MOST: f64 = 1000.0 * MEGABYTE;

pub fn score<'a>(pod: &'a PodFacts, snapshot: &'a Snapshot<'a>, _: &'a [&'a NodeState]) -> Option<Rate<'a>> {
    let names = &pod.constraints.images;
    let found: Vec<&Sizes> = names.iter().filter_map(|name| snapshot.images.find(name)).collect();
    if found.is_empty() {
        return None;
    }
    let (containers, nodes) = (names.len() as f64, snapshot.nodes.len() as f64);
    Some(Box::new(move |node| {
        let weighed = |sizes: &&Sizes| Some(*sizes.get(&node.facts.meta.key)? as f64 * (sizes.len() as f64 / nodes));
        let sum: f64 = found.iter().filter_map(weighed).sum();
        let most = MOST * containers;
        ((sum.clamp(LEAST, most) - LEAST) * 100.0 / (most - LEAST)) as i64
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{node_with_images, pod};
    use crate::world::World;
    use serde_json::json;

    #[test]
    fn big_images_that_are_there_count() {
        let mut world = World::default();
        world.set_node(node_with_images("a", &[("big:1", 1000), ("small:latest", 20)]));
        world.set_node(node_with_images("b", &[("big:1", 1000), ("middle:1", 523)]));
        world.set_node(node_with_images("c", &[]));
        world.set_node(node_with_images("d", &[]));
        let snapshot = world.snapshot();
        let table = [
            (json!({"containers": [{"image": "big:1"}]}), Some([48, 48, 0, 0])),
            (json!({"containers": [{"image": "small"}]}), Some([0, 0, 0, 0])),
            (json!({"containers": [{"image": "middle:1"}]}), Some([0, 11, 0, 0])),
            (
                json!({"containers": [{"image": "big:1"}], "initContainers": [{"image": "middle:1"}]}),
                Some([24, 30, 0, 0]),
            ),
            (json!({"containers": [{"image": "other"}]}), None),
        ];
        for (spec, expected) in table {
            let pod = pod("p", spec.clone());
            let rate = score(&pod, &snapshot, &[]);
            let scores = rate.map(|rate| snapshot.nodes.iter().map(|node| rate(node)).collect::<Vec<i64>>());
            assert_eq!(scores, expected.map(|e| e.to_vec()), "{spec}");
        }
    }
}
