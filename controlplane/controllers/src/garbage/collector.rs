//! The loop: looks an object up in the API, asks for its owners, and does what the plan says.

use super::graph::{FOREGROUND, Graph, Item, ORPHAN};
use super::plan::{Action, Standing, plan};
use super::sources;
use crate::context::Context;
use async_trait::async_trait;
use coracle_client::facts::{Owner, Project};
use coracle_client::{Controller, DeleteOptions, Error, Involved, Meta, Next, Patch, Propagation, WorkQueue};
use coracle_proto::status::Reason;
use coracle_proto::{ApiError, ObjectKey, Resource, Tree};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How soon an owner of a kind that is not served is looked for again.
const UNKNOWN_KIND: Duration = Duration::from_secs(300);

struct Collector {
    context: Context,
    graph: Arc<Mutex<Graph>>,
    queue: WorkQueue<Item>,
}

pub(crate) async fn run(context: Context) {
    let queue = WorkQueue::new();
    let graph = Arc::new(Mutex::new(Graph::default()));
    let sink: sources::Sink = {
        let (graph, queue) = (graph.clone(), queue.clone());
        Arc::new(move |resource, old, new| {
            lock(&graph).observe(resource, old, new).into_iter().for_each(|item| queue.add(item));
        })
    };
    let covered = sources::attach_shared(&context, &sink).await;
    let others = sources::follow_others(context.clone(), sink, covered);
    let controller = Arc::new(Collector { context: context.clone(), graph, queue: queue.clone() });
    tokio::join!(others, context.run(controller, queue));
}

fn lock(graph: &Mutex<Graph>) -> MutexGuard<'_, Graph> {
    graph.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Controller for Collector {
    const NAME: &'static str = "generic-garbage-collector";
    type Key = Item;

    async fn reconcile(&self, item: &Item) -> Result<Next, Error> {
        let Some(tree) = self.live(item).await? else {
            let look = lock(&self.graph).forget(&item.uid);
            look.into_iter().for_each(|next| self.queue.add(next));
            return Ok(Next::Done);
        };
        let object =
            coracle_proto::Object { revision: coracle_proto::meta::revision(&tree), json: tree.to_string().into() };
        let meta = Meta::project(&object)?;
        let mut unknown = false;
        let mut owners = Vec::with_capacity(meta.owners.len());
        if !meta.is_deleting() {
            for owner in &*meta.owners {
                let standing = self.standing(item, &meta, owner).await?;
                unknown |= standing.is_none();
                owners.push((owner.uid.clone(), standing.unwrap_or(Standing::Solid)));
            }
        }
        let dependents = lock(&self.graph).dependents_of(&item.uid);
        let action = plan(&meta, &owners, &dependents);
        self.execute(item, &tree, action).await?;
        Ok(if unknown { Next::After(UNKNOWN_KIND) } else { Next::Done })
    }
}

impl Collector {
    /// `None` if it is gone, or another object has its name.
    async fn live(&self, item: &Item) -> Result<Option<Tree>, ApiError> {
        match self.context.api.get(&item.resource, &item.key).await {
            Ok(object) => Ok(Some(object.tree()?).filter(|tree| coracle_proto::meta::uid(tree) == &*item.uid)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// `None`: nobody can tell, so the object is left alone.
    async fn standing(&self, item: &Item, meta: &Meta, owner: &Owner) -> Result<Option<Standing>, ApiError> {
        let Some(resource) = self.resource_of(owner) else {
            tracing::debug!(%item, kind = &*owner.kind, "an owner is of a kind that is not served");
            return Ok(None);
        };
        if resource.namespaced && item.key.namespace.is_empty() {
            let message = format!(
                "ownerRef [{}/{}, namespace: , name: {}, uid: {}] does not exist in namespace \"\"",
                owner.api_version, owner.kind, owner.name, owner.uid
            );
            self.context.events.warning(&Involved::of(&item.resource, meta), "OwnerRefInvalidNamespace", message);
            return Ok(None);
        }
        let namespace = if resource.namespaced { item.key.namespace.as_str() } else { "" };
        let key = ObjectKey::new(namespace, &*owner.name);
        let found = Item { resource, key, uid: owner.uid.clone() };
        Ok(Some(match self.live(&found).await? {
            None => Standing::Absent,
            Some(tree) => {
                let waits = coracle_proto::meta::is_deleting(&tree)
                    && coracle_proto::meta::finalizers(&tree).any(|f| f == FOREGROUND);
                if waits { Standing::Waiting } else { Standing::Solid }
            }
        }))
    }

    /// Any version of the group will do.
    fn resource_of(&self, owner: &Owner) -> Option<Resource> {
        let (group, version) = owner.api_version.split_once('/').unwrap_or(("", &owner.api_version));
        let mut served = (self.context.config.resources)();
        served.retain(|r| r.group == group && *r.kind == *owner.kind);
        let exact = served.iter().position(|r| r.version == version).unwrap_or(0);
        (!served.is_empty()).then(|| served.swap_remove(exact))
    }

    async fn execute(&self, item: &Item, tree: &Tree, action: Action) -> Result<(), Error> {
        match action {
            Action::Nothing => Ok(()),
            Action::Disown(uids) => self.disown(item, tree, &uids).await,
            Action::Delete(propagation) => self.delete(item, propagation).await,
            Action::Unblock => {
                let mut owners = tree["metadata"]["ownerReferences"].clone();
                for owner in owners.as_array_mut().into_iter().flatten() {
                    owner["blockOwnerDeletion"] = false.into();
                }
                self.patch(item, tree, json!({"ownerReferences": owners})).await?;
                self.delete(item, Propagation::Foreground).await
            }
            Action::Orphan(dependents) => {
                for dependent in dependents {
                    if let Some(tree) = self.live(&dependent).await? {
                        self.disown(&dependent, &tree, std::slice::from_ref(&item.uid)).await?;
                    }
                }
                self.remove_finalizer(item, tree, ORPHAN).await
            }
            Action::Await(dependents) => {
                dependents.into_iter().for_each(|dependent| self.queue.add(dependent));
                Ok(())
            }
            Action::Release => self.remove_finalizer(item, tree, FOREGROUND).await,
        }
    }

    async fn delete(&self, item: &Item, propagation: Propagation) -> Result<(), Error> {
        let options = DeleteOptions {
            uid: Some(item.uid.to_string()),
            propagation: Some(propagation),
            ..DeleteOptions::default()
        };
        match self.context.api.delete(&item.resource, &item.key, &options).await {
            Ok(_) => {
                tracing::info!(%item, ?propagation, "deleted what has no owner left");
                Ok(())
            }
            Err(e) if e.is_not_found() => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    async fn disown(&self, item: &Item, tree: &Tree, uids: &[Arc<str>]) -> Result<(), Error> {
        let owners = tree["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        let kept: Vec<Tree> = owners.filter(|o| !uids.iter().any(|uid| o["uid"] == **uid)).cloned().collect();
        self.patch(item, tree, json!({"ownerReferences": kept})).await
    }

    async fn remove_finalizer(&self, item: &Item, tree: &Tree, finalizer: &str) -> Result<(), Error> {
        let kept: Vec<&str> = coracle_proto::meta::finalizers(tree).filter(|f| *f != finalizer).collect();
        self.patch(item, tree, json!({"finalizers": kept})).await
    }

    /// Exactly at the revision that was read: the lists in the patch are whole.
    async fn patch(&self, item: &Item, tree: &Tree, mut metadata: Value) -> Result<(), Error> {
        metadata["uid"] = (*item.uid).into();
        metadata["resourceVersion"] = tree["metadata"]["resourceVersion"].clone();
        let patch = Patch::Merge(json!({"metadata": metadata}));
        match self.context.api.patch(&item.resource, &item.key, "", patch).await {
            Ok(_) => Ok(()),
            Err(e) if matches!(e.reason, Reason::NotFound) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}
