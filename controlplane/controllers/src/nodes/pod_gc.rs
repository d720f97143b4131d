//! Pod garbage collection: ended pods beyond a number, pods of nodes that are gone, and pods nobody will ever end.
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-garbage-collection>

use super::eviction::mark_disrupted;
use super::taints::OUT_OF_SERVICE;
use crate::context::Context;
use crate::limits::{MISSING_NODE_QUARANTINE, POD_GC_PERIOD};
use async_trait::async_trait;
use coracle_client::{Controller, DeleteOptions, Error, Next, NodeFacts, PodFacts, WorkQueue};
use coracle_proto::resource::{NODES, PODS};
use coracle_proto::{ApiError, ObjectKey};
use futures::future::join_all;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

struct PodGc {
    context: Context,
    /// Nodes that pods name and nobody knows, since when.
    missing: Mutex<HashMap<Box<str>, Instant>>,
}

pub(crate) async fn run(context: Context) {
    let queue = WorkQueue::new();
    tokio::join!(context.informers.nodes.synced(), context.informers.pods.synced());
    queue.add(String::from("all pods"));
    context.run(Arc::new(PodGc { context: context.clone(), missing: Mutex::default() }), queue).await;
}

/// Why a pod is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Ended,
    NodeGone,
    NodeOutOfService,
    Unscheduled,
}

/// `gone` are nodes that have been missing for long enough.
fn plan(
    pods: &[Arc<PodFacts>],
    node: &dyn Fn(&str) -> Option<Arc<NodeFacts>>,
    gone: &BTreeSet<Box<str>>,
    ended_kept: usize,
) -> Vec<(Arc<PodFacts>, Why)> {
    let mut doomed = Vec::new();
    let mut ended: Vec<&Arc<PodFacts>> = Vec::new();
    for pod in pods {
        if pod.node_name.is_empty() {
            if pod.meta.is_deleting() {
                doomed.push((pod.clone(), Why::Unscheduled));
                continue;
            }
        } else if gone.contains(&pod.node_name) {
            doomed.push((pod.clone(), Why::NodeGone));
            continue;
        } else if pod.meta.is_deleting() && node(&pod.node_name).is_some_and(|n| is_out_of_service(&n)) {
            doomed.push((pod.clone(), Why::NodeOutOfService));
            continue;
        }
        if pod.is_terminal() && !pod.meta.is_deleting() {
            ended.push(pod);
        }
    }
    ended.sort_by(|a, b| (a.meta.created, &a.meta.key).cmp(&(b.meta.created, &b.meta.key)));
    let surplus = ended.len().saturating_sub(ended_kept);
    doomed.extend(ended.into_iter().take(surplus).map(|pod| (pod.clone(), Why::Ended)));
    doomed
}

fn is_out_of_service(node: &NodeFacts) -> bool {
    !node.is_ready() && node.taints.iter().any(|t| t.key == OUT_OF_SERVICE)
}

#[async_trait]
impl Controller for PodGc {
    const NAME: &'static str = "pod-garbage-collector";
    type Key = String;

    async fn reconcile(&self, _: &String) -> Result<Next, Error> {
        let informers = &self.context.informers;
        let pods = informers.pods.list();
        let gone = self.gone(&pods).await?;
        let node = |name: &str| informers.nodes.get(&ObjectKey::cluster(name));
        let doomed = plan(&pods, &node, &gone, self.context.config.ended_pods_kept);
        let total = doomed.len();
        let results = join_all(doomed.iter().map(|(pod, why)| self.delete(pod, *why))).await;
        let mut failed: Vec<Error> = results.into_iter().filter_map(Result::err).filter(|e| !e.is_conflict()).collect();
        if failed.is_empty() {
            return Ok(Next::After(POD_GC_PERIOD));
        }
        tracing::warn!(failed = failed.len(), total, "some pods could not be collected");
        Err(failed.remove(0))
    }
}

impl PodGc {
    async fn gone(&self, pods: &[Arc<PodFacts>]) -> Result<BTreeSet<Box<str>>, ApiError> {
        let nodes = &self.context.informers.nodes;
        let named = pods.iter().map(|p| &p.node_name).filter(|name| !name.is_empty());
        let unknown: BTreeSet<Box<str>> =
            named.filter(|name| nodes.get(&ObjectKey::cluster(&***name)).is_none()).cloned().collect();
        let ripe: Vec<Box<str>> = {
            let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
            missing.retain(|name, _| unknown.contains(name));
            for name in unknown {
                missing.entry(name).or_insert_with(Instant::now);
            }
            missing
                .iter()
                .filter(|(_, at)| at.elapsed() >= MISSING_NODE_QUARANTINE)
                .map(|(name, _)| name.clone())
                .collect()
        };
        let mut gone = BTreeSet::new();
        for name in ripe {
            match self.context.api.get(&NODES, &ObjectKey::cluster(&*name)).await {
                Ok(_) => {}
                Err(e) if e.is_not_found() => {
                    gone.insert(name);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(gone)
    }

    async fn delete(&self, pod: &PodFacts, why: Why) -> Result<(), Error> {
        let reason = match why {
            Why::NodeGone => Some("PodGC: node no longer exists"),
            Why::NodeOutOfService => Some("PodGC: node out-of-service"),
            Why::Ended | Why::Unscheduled => None,
        };
        let (api, now) = (&*self.context.api, self.context.now());
        // Nobody is left to report that it ended.
        let phase = (!pod.is_terminal()).then_some("Failed");
        if let Some(message) = reason {
            let reason = ("DeletionByPodGC", message);
            if !mark_disrupted(api, &self.context.informers, pod, reason, phase, now).await? {
                return Ok(());
            }
        }
        let options = DeleteOptions {
            grace_period_seconds: Some(0),
            uid: Some(pod.meta.uid.to_string()),
            ..DeleteOptions::default()
        };
        match api.delete(&PODS, &pod.meta.key, &options).await {
            Ok(_) => {
                tracing::info!(pod = %pod.meta.key, ?why, "collected a pod");
                Ok(())
            }
            Err(e) if e.is_not_found() => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{pod, project};
    use serde_json::json;

    fn make(name: &str, node: &str, phase: &str, deleting: bool, age: i64) -> Arc<PodFacts> {
        let mut tree = json!({
            "metadata": {"name": name, "namespace": "ns", "uid": name, "creationTimestamp": format!("2026-01-01T00:00:{:02}Z", 59 - age)},
            "spec": {"nodeName": node}, "status": {"phase": phase},
        });
        if deleting {
            tree["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        pod(&tree)
    }

    #[test]
    fn who_goes_and_why() {
        let pods = [
            make("running", "n", "Running", false, 0),
            make("waiting", "", "Pending", false, 0),
            make("unscheduled", "", "Pending", true, 0),
            make("terminating", "n", "Running", true, 0),
            make("lost", "gone", "Running", false, 0),
            make("stuck", "off", "Running", true, 0),
            make("staying", "off", "Running", false, 0),
            make("old", "n", "Succeeded", false, 9),
            make("older", "n", "Failed", false, 20),
            make("oldest", "n", "Failed", false, 30),
            make("young", "n", "Succeeded", false, 1),
        ];
        let node = |name: &str| {
            let taints =
                if name == "off" { json!([{"key": OUT_OF_SERVICE, "effect": "NoExecute"}]) } else { json!([]) };
            Some(Arc::new(project::<NodeFacts>(&json!({"metadata": {"name": name}, "spec": {"taints": taints}}))))
        };
        let doomed = plan(&pods, &node, &BTreeSet::from(["gone".into()]), 2);
        let found: Vec<(&str, Why)> = doomed.iter().map(|(pod, why)| (pod.meta.name(), *why)).collect();
        let want = [
            ("unscheduled", Why::Unscheduled),
            ("lost", Why::NodeGone),
            ("stuck", Why::NodeOutOfService),
            ("oldest", Why::Ended),
            ("older", Why::Ended),
        ];
        assert_eq!(found, want);
    }
}
