//! Namespace deletion: removes everything in a namespace that is being deleted, then lets the namespace go.
//! <https://kubernetes.io/docs/tasks/administer-cluster/namespaces/#deleting-a-namespace>

mod content;
mod plan;

use crate::conditions::status_patch;
use crate::context::Context;
use async_trait::async_trait;
use coracle_client::{Controller, Error, Next, Patch, WorkQueue};
use coracle_proto::resource::NAMESPACES;
use coracle_proto::{ObjectKey, Tree, meta};
use serde_json::{Map, json};
use std::sync::Arc;
use std::time::Duration;

/// Holds a namespace until this controller has emptied it.
const FINALIZER: &str = "kubernetes";
/// How often to look whether the rest is gone; pods that end bring the namespace back sooner.
const REST: Duration = Duration::from_secs(2);

struct Namespaces {
    context: Context,
}

pub(crate) async fn run(context: Context) {
    let queue = WorkQueue::new();
    let informers = &context.informers;
    let own = queue.clone();
    informers.namespaces.subscribe(move |delta| {
        if delta.new.as_ref().is_some_and(|namespace| namespace.is_deleting()) {
            own.add(ObjectKey::clone(&delta.key));
        }
    });
    let (by_pod, namespaces) = (queue.clone(), informers.namespaces.clone());
    informers.pods.subscribe(move |delta| {
        let namespace = ObjectKey::cluster(&*delta.key.namespace);
        if delta.new.is_none() && namespaces.get(&namespace).is_some_and(|n| n.is_deleting()) {
            by_pod.add(namespace);
        }
    });
    tokio::join!(informers.namespaces.synced(), informers.pods.synced());
    context.run(Arc::new(Namespaces { context: context.clone() }), queue).await;
}

#[async_trait]
impl Controller for Namespaces {
    const NAME: &'static str = "namespace-controller";
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let namespace = match self.context.api.get(&NAMESPACES, key).await {
            Ok(object) => object.tree()?,
            Err(e) if e.is_not_found() => return Ok(Next::Done),
            Err(e) => return Err(e.into()),
        };
        let finalizers = namespace["spec"]["finalizers"].as_array();
        let held = finalizers.into_iter().flatten().any(|f| f == FINALIZER);
        if !meta::is_deleting(&namespace) || !held {
            return Ok(Next::Done);
        }
        let content = self.empty(&key.name).await;
        self.write_conditions(key, &namespace, &content).await?;
        if content.is_gone() {
            self.finalize(key, namespace).await?;
            return Ok(Next::Done);
        }
        match content.first_failure() {
            Some(e) => Err(e.into()),
            None => Ok(Next::After(REST)),
        }
    }
}

impl Namespaces {
    async fn write_conditions(&self, key: &ObjectKey, namespace: &Tree, content: &plan::Content) -> Result<(), Error> {
        let current: Vec<Tree> = namespace["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let wanted = plan::conditions(current, content, self.context.now());
        let status =
            Map::from_iter([("conditions".to_owned(), json!(wanted)), ("phase".to_owned(), "Terminating".into())]);
        let Some(status) = status_patch(&namespace["status"], &status, &[]) else { return Ok(()) };
        let patch = json!({"metadata": {"uid": namespace["metadata"]["uid"]}, "status": status});
        self.context.api.patch(&NAMESPACES, key, "status", Patch::Merge(patch)).await?;
        Ok(())
    }

    async fn finalize(&self, key: &ObjectKey, mut namespace: Tree) -> Result<(), Error> {
        if let Some(finalizers) = namespace["spec"]["finalizers"].as_array_mut() {
            finalizers.retain(|f| f != FINALIZER);
        }
        // The conditions just written have made the revision stale; the uid still guards the right namespace.
        meta::metadata_mut(&mut namespace).remove("resourceVersion");
        match self.context.api.update(&NAMESPACES, key, "finalize", namespace).await {
            Ok(_) => Ok(()),
            Err(e) if e.is_not_found() => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}
