//! The node lifecycle controller: silent nodes become Unknown, taints follow conditions, pods on silent nodes count as
//! not ready.

use super::health::{self, Health};
use super::taints::{self, Eviction};
use crate::context::Context;
use crate::limits::NODE_PERIOD;
use async_trait::async_trait;
use coracle_client::{Controller, Error, Involved, Next, NodeFacts, Patch, PodFacts, WorkQueue};
use coracle_proto::resource::{NODES, PODS};
use coracle_proto::{ObjectKey, Tree, time};
use jiff::Timestamp;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

struct Lifecycle {
    context: Context,
    known: Mutex<HashMap<ObjectKey, Health>>,
    /// When the next node may be emptied.
    next_eviction: Mutex<Instant>,
}

pub(crate) async fn run(context: Context) {
    let queue = WorkQueue::new();
    let informers = &context.informers;
    let own = queue.clone();
    informers.nodes.subscribe(move |delta| own.add(ObjectKey::clone(&delta.key)));
    let by_lease = queue.clone();
    informers.node_leases.subscribe(move |delta| by_lease.add(ObjectKey::cluster(&*delta.key.name)));
    let (by_pod, nodes) = (queue.clone(), informers.nodes.clone());
    // A pod may come to a node, or be reported ready, just before the node falls silent.
    informers.pods.subscribe(move |delta| {
        if let Some(pod) = delta.new.as_ref().filter(|pod| pod.ready && !pod.node_name.is_empty()) {
            let node = ObjectKey::cluster(&*pod.node_name);
            if nodes.get(&node).is_some_and(|n| is_unknown(&n)) {
                by_pod.add(node);
            }
        }
    });
    tokio::join!(informers.nodes.synced(), informers.node_leases.synced(), informers.pods.synced());
    let controller =
        Lifecycle { context: context.clone(), known: Mutex::default(), next_eviction: Mutex::new(Instant::now()) };
    context.run(Arc::new(controller), queue).await;
}

fn is_unknown(node: &NodeFacts) -> bool {
    node.condition("Ready").is_some_and(|c| &*c.status == "Unknown")
}

#[async_trait]
impl Controller for Lifecycle {
    const NAME: &'static str = "node-controller";
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let informers = &self.context.informers;
        let (Some(facts), Some(object)) = (informers.nodes.get(key), informers.nodes.object(key)) else {
            if self.lock_known().remove(key).is_some() {
                let name = &key.name;
                let about = Involved {
                    kind: "Node".into(),
                    api_version: "v1".into(),
                    name: name.clone(),
                    ..Involved::default()
                };
                let message = format!("Node {name} event: Removing Node {name} from Controller");
                self.context.events.normal(&about, "RemovingNode", message);
            }
            return Ok(Next::Done);
        };
        let now = self.context.now();
        let left = self.hear(key, &facts).left(self.context.config.node_grace, Instant::now());
        let node = object.tree()?;
        let reported: Vec<Tree> = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let silence = if left.is_zero() { health::unknown(&reported, facts.meta.created, now) } else { None };
        if let Some(conditions) = &silence {
            self.write_silence(&facts, &node, conditions).await?;
        }
        let conditions = silence.unwrap_or(reported);
        self.write_taints(&facts, &node, &conditions, now).await?;
        let silent = left.is_zero();
        if silent {
            self.unready_pods(&facts, now).await?;
        }
        let settled = !silent && taints::evicting(&conditions).is_none();
        Ok(Next::After(if settled { left.max(NODE_PERIOD) } else { NODE_PERIOD }))
    }
}

impl Lifecycle {
    fn lock_known(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectKey, Health>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, key: &ObjectKey, facts: &NodeFacts) -> Health {
        let lease = self.context.informers.node_leases.get(&ObjectKey::new("kube-node-lease", &*key.name));
        // Our own writes change conditions too, but never a heartbeat.
        let heartbeat = facts.conditions.iter().filter_map(|c| c.heartbeat).max();
        let sign = (lease.and_then(|l| l.renewed), heartbeat);
        let mut known = self.lock_known();
        let before = known.get(key);
        if before.is_none() {
            let message = format!("Node {0} event: Registered Node {0} in Controller", key.name);
            self.context.events.normal(&Involved::of(&NODES, &facts.meta), "RegisteredNode", message);
        }
        let health = Health::hear(before, sign, Instant::now());
        known.insert(key.clone(), health.clone());
        health
    }

    async fn write_silence(&self, facts: &NodeFacts, node: &Tree, conditions: &[Tree]) -> Result<(), Error> {
        // The revision guards against a status that the node wrote meanwhile: then it is not silent.
        let metadata = json!({"uid": facts.meta.uid, "resourceVersion": node["metadata"]["resourceVersion"]});
        let patch = json!({"metadata": metadata, "status": {"conditions": conditions}});
        match self.context.api.patch(&NODES, &facts.meta.key, "status", Patch::Merge(patch)).await {
            Ok(_) => {}
            Err(e) if e.is_not_found() => return Ok(()),
            Err(e) => return Err(e.into()),
        }
        tracing::info!(node = facts.meta.name(), "a node is silent");
        if facts.is_ready() {
            let message = format!("Node {} status is now: NodeNotReady", facts.meta.name());
            self.context.events.normal(&Involved::of(&NODES, &facts.meta), "NodeNotReady", message);
        }
        Ok(())
    }

    async fn write_taints(
        &self,
        facts: &NodeFacts,
        node: &Tree,
        conditions: &[Tree],
        now: Timestamp,
    ) -> Result<(), Error> {
        let eviction = self.eviction(facts, conditions);
        let Some(wanted) = taints::wanted(node, conditions, eviction, now) else { return Ok(()) };
        // The list is replaced as a whole. Conditions written just now have moved the revision on, so it is read again.
        let fresh = match self.context.api.get(&NODES, &facts.meta.key).await {
            Ok(object) => object.tree()?,
            Err(e) if e.is_not_found() => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        if fresh["spec"]["taints"] != node["spec"]["taints"] {
            // The cache's next change brings the key back.
            return Ok(());
        }
        let metadata = json!({"uid": facts.meta.uid, "resourceVersion": fresh["metadata"]["resourceVersion"]});
        let patch = json!({"metadata": metadata, "spec": {"taints": wanted}});
        self.context.api.patch(&NODES, &facts.meta.key, "", Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Takes its turn if the node is to be emptied and one may be now.
    fn eviction(&self, facts: &NodeFacts, conditions: &[Tree]) -> Eviction {
        let Some(taint) = taints::evicting(conditions) else { return Eviction::Held };
        let nodes = self.context.informers.nodes.list();
        let is_ready = |n: &NodeFacts| n.meta.uid != facts.meta.uid && n.is_ready();
        let ready = nodes.iter().filter(|n| is_ready(n)).count();
        let unready = nodes.len().max(1) - ready;
        if ready == 0 {
            return Eviction::Withdrawn;
        }
        let Some(interval) = health::eviction_interval(ready, unready) else { return Eviction::Held };
        if facts.taints.iter().any(|t| t.key == taint && t.effect == "NoExecute") {
            return Eviction::Held;
        }
        let now = Instant::now();
        let mut next = self.next_eviction.lock().unwrap_or_else(PoisonError::into_inner);
        if *next > now {
            return Eviction::Held;
        }
        *next = now + interval;
        Eviction::Allowed
    }

    async fn unready_pods(&self, facts: &NodeFacts, now: Timestamp) -> Result<(), Error> {
        let pods = &self.context.informers.pods;
        for pod in pods.indexed(PodFacts::BY_NODE, facts.meta.name()) {
            if !pod.ready {
                continue;
            }
            let Some(object) = pods.object(&pod.meta.key) else { continue };
            let tree = object.tree()?;
            let mut conditions = tree["status"]["conditions"].as_array().cloned().unwrap_or_default();
            for condition in conditions.iter_mut().filter(|c| c["type"] == "Ready") {
                condition["status"] = "False".into();
                condition["lastTransitionTime"] = time::render(now).into();
            }
            let metadata = json!({"uid": pod.meta.uid, "resourceVersion": tree["metadata"]["resourceVersion"]});
            let patch = json!({"metadata": metadata, "status": {"conditions": conditions}});
            match self.context.api.patch(&PODS, &pod.meta.key, "status", Patch::Merge(patch)).await {
                Ok(_) => {
                    self.context.events.warning(&Involved::of(&PODS, &pod.meta), "NodeNotReady", "Node is not ready");
                }
                Err(e) if e.is_not_found() => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}
