//! Carries out a Deployment's plan.

use super::objects::{Deployment, Set, int};
use super::plan::Plan;
use super::{Deployments, revision, status, template};
use crate::conditions::{self, status_patch};
use coracle_client::{DeleteOptions, Error, Next, Patch};
use coracle_proto::resource::{DEPLOYMENTS, REPLICA_SETS};
use coracle_proto::{ApiError, ObjectKey, Tree, meta};
use serde_json::{Map, Value, json};

impl Deployments {
    pub(super) async fn execute(&self, deployment: &Deployment, plan: Plan) -> Result<Next, Error> {
        for write in &plan.writes {
            let set = &write.set;
            if set.is_new {
                if !self.create(deployment, set).await? {
                    return Ok(Next::Done);
                }
            } else {
                self.update(deployment, set).await?;
            }
        }
        for set in &plan.deletions {
            self.delete(deployment, set).await?;
        }
        if let Some(revision) = &plan.revision {
            let patch =
                json!({"metadata": {"uid": deployment.meta.uid, "annotations": {revision::REVISION: revision}}});
            self.patch(deployment, "", patch).await?;
        }
        self.write_status(deployment, &plan.status).await?;
        Ok(plan.next())
    }

    /// Returns whether to go on.
    async fn create(&self, deployment: &Deployment, set: &Set) -> Result<bool, Error> {
        let key = ObjectKey::new(deployment.meta.namespace(), "");
        match self.context.api.create(&REPLICA_SETS, &key, "", set.tree.clone()).await {
            Ok(object) => {
                self.sets_written.wrote(&deployment.meta.key, &object);
                self.announce(deployment, set);
                Ok(true)
            }
            Err(e) if e.is_already_exists() => self.settle_collision(deployment, set, e).await,
            Err(e) if crate::replicaset::is_namespace_ending(&e) => Ok(false),
            Err(e) => {
                let message = format!("Failed to create new replica set {:?}: {e}", set.name());
                self.context.events.warning(&deployment.involved(), "ReplicaSetCreateError", &*message);
                if deployment.progress_deadline.is_some() {
                    let now = self.context.now();
                    let failed = status::condition("Progressing", "False", "ReplicaSetCreateError", &message, now);
                    let mut list = deployment.status()["conditions"].as_array().cloned().unwrap_or_default();
                    conditions::set(&mut list, failed);
                    self.write_status(deployment, &Map::from_iter([("conditions".to_owned(), list.into())])).await?;
                }
                Err(e.into())
            }
        }
    }

    /// The name is taken: by what we made before (the cache lags, or we crashed after it), or by a hash collision.
    async fn settle_collision(&self, deployment: &Deployment, set: &Set, taken: ApiError) -> Result<bool, Error> {
        let key = ObjectKey::new(deployment.meta.namespace(), set.name());
        let there = self.context.api.get(&REPLICA_SETS, &key).await?;
        let tree: Tree = there.parse()?;
        let ours = meta::controller_of(&tree).is_some_and(|o| o["uid"] == *deployment.meta.uid);
        if ours && template::same(&tree["spec"]["template"], deployment.template()) {
            self.sets_written.wrote(&deployment.meta.key, &there);
            return Ok(true);
        }
        let count = int(&deployment.status()["collisionCount"]).unwrap_or(0).saturating_add(1);
        self.patch(deployment, "status", json!({"status": {"collisionCount": count}})).await?;
        tracing::info!(name = set.name(), count, "a ReplicaSet's name collides; trying the next");
        Err(taken.into())
    }

    async fn update(&self, deployment: &Deployment, set: &Set) -> Result<(), Error> {
        // The tree carries the revision it was read at: a stale cache makes this a conflict, not a wrong size.
        let object = self.context.api.update(&REPLICA_SETS, &set.meta.key, "", set.tree.clone()).await?;
        self.sets_written.wrote(&deployment.meta.key, &object);
        self.announce(deployment, set);
        Ok(())
    }

    fn announce(&self, deployment: &Deployment, set: &Set) {
        if set.replicas == set.found {
            return;
        }
        let direction = if set.replicas > set.found { "up" } else { "down" };
        let message = format!("Scaled {direction} replica set {} from {} to {}", set.name(), set.found, set.replicas);
        self.context.events.normal(&deployment.involved(), "ScalingReplicaSet", message);
    }

    async fn delete(&self, deployment: &Deployment, set: &Set) -> Result<(), Error> {
        let options = DeleteOptions {
            uid: Some(set.meta.uid.to_string()),
            resource_version: Some(set.meta.revision.to_string()),
            ..DeleteOptions::default()
        };
        match self.context.api.delete(&REPLICA_SETS, &set.meta.key, &options).await {
            Ok(_) => {
                self.sets_written.deleted(&deployment.meta.key, &set.meta.key, &set.meta.uid);
                Ok(())
            }
            Err(e) if e.is_not_found() => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    async fn write_status(&self, deployment: &Deployment, wanted: &Map<String, Value>) -> Result<(), Error> {
        match status_patch(deployment.status(), wanted, &[]) {
            Some(status) => self.patch(deployment, "status", json!({"status": status})).await,
            None => Ok(()),
        }
    }

    async fn patch(&self, deployment: &Deployment, subresource: &str, mut patch: Tree) -> Result<(), Error> {
        patch["metadata"]["uid"] = (*deployment.meta.uid).into();
        let key = &deployment.meta.key;
        match self.context.api.patch(&DEPLOYMENTS, key, subresource, Patch::Merge(patch)).await {
            Ok(object) => {
                self.written.wrote(key, &object);
                Ok(())
            }
            Err(e) if e.is_not_found() => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}
