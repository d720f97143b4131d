//! Carries out what was planned for a ReplicaSet: creates in growing batches, deletes side by side, writes the status.

use super::ReplicaSets;
use super::plan::{self, Manage, Observed, Set};
use crate::conditions::status_patch;
use crate::limits::SLOW_START;
use coracle_client::facts::Owner;
use coracle_client::{DeleteOptions, Error, Patch, PodFacts};
use coracle_proto::resource::{PODS, REPLICA_SETS};
use coracle_proto::status::Reason;
use coracle_proto::{ApiError, ObjectKey, Tree, meta};
use futures::future::join_all;
use serde_json::json;
use std::sync::Arc;

impl ReplicaSets {
    pub(super) async fn execute(&self, set: &Set, tree: &Tree, manage: Manage) -> Result<(), Error> {
        match manage {
            Manage::Nothing => Ok(()),
            Manage::Create(count) => self.create(set, &pod_from_template(set, tree), count).await,
            Manage::Delete(pods) => self.delete(set, pods).await,
        }
    }

    /// Batches of 1, 2, 4, …: if the first is refused (a quota, an admission), the rest is not tried in vain.
    async fn create(&self, set: &Set, pod: &Tree, count: usize) -> Result<(), Error> {
        let (mut left, mut batch) = (count, SLOW_START.min(count));
        while batch > 0 {
            let results = join_all((0..batch).map(|_| self.create_one(set, pod))).await;
            let failed: Vec<ApiError> = results.into_iter().filter_map(Result::err).collect();
            if !failed.is_empty() {
                return outcome(failed, batch);
            }
            left -= batch;
            batch = (2 * batch).min(left);
        }
        Ok(())
    }

    async fn create_one(&self, set: &Set, pod: &Tree) -> Result<(), ApiError> {
        let key = ObjectKey::new(set.meta.namespace(), "");
        match self.context.api.create(&PODS, &key, "", pod.clone()).await {
            Ok(object) => {
                self.ledger.wrote(&set.meta.key, &object);
                let name = object.tree().map(|t| meta::name(&t).to_owned())?;
                let about = Self::involved(set);
                self.context.events.normal(&about, "SuccessfulCreate", format!("Created pod: {name}"));
                Ok(())
            }
            Err(e) if is_namespace_ending(&e) => Ok(()),
            Err(e) => {
                let about = Self::involved(set);
                self.context.events.warning(&about, "FailedCreate", format!("Error creating: {e}"));
                Err(e)
            }
        }
    }

    async fn delete(&self, set: &Set, pods: Vec<Arc<PodFacts>>) -> Result<(), Error> {
        let total = pods.len();
        let results = join_all(pods.iter().map(|pod| self.delete_one(set, pod))).await;
        outcome(results.into_iter().filter_map(Result::err).collect(), total)
    }

    async fn delete_one(&self, set: &Set, pod: &PodFacts) -> Result<(), ApiError> {
        let options = DeleteOptions { uid: Some(pod.meta.uid.to_string()), ..DeleteOptions::default() };
        match self.context.api.delete(&PODS, &pod.meta.key, &options).await {
            Ok(_) => {
                self.ledger.deleted(&set.meta.key, &pod.meta.key, &pod.meta.uid);
                let message = format!("Deleted pod: {}", pod.meta.name());
                self.context.events.normal(&Self::involved(set), "SuccessfulDelete", message);
                Ok(())
            }
            // Gone already, or another pod by that name.
            Err(e) if e.is_not_found() || e.is_conflict() => Ok(()),
            Err(e) => {
                self.context.events.warning(&Self::involved(set), "FailedDelete", format!("Error deleting: {e}"));
                Err(e)
            }
        }
    }

    pub(super) async fn write_status(
        &self,
        set: &Set,
        tree: &Tree,
        observed: &Observed<'_>,
        failure: Option<&str>,
    ) -> Result<(), Error> {
        let wanted = plan::status(set, &tree["status"], observed, failure);
        let Some(status) = status_patch(&tree["status"], &wanted, &["replicas"]) else { return Ok(()) };
        let patch = json!({"metadata": {"uid": set.meta.uid}, "status": status});
        match self.context.api.patch(&REPLICA_SETS, &set.meta.key, "status", Patch::Merge(patch)).await {
            Ok(_) => Ok(()),
            Err(e) if e.is_not_found() => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

fn outcome(mut failed: Vec<ApiError>, total: usize) -> Result<(), Error> {
    match failed.len() {
        0 => Ok(()),
        1 => Err(Error::Api(failed.remove(0))),
        many => Err(Error::Partly { failed: many, total, first: failed.remove(0) }),
    }
}

/// The namespace takes nothing new, so there is nothing to retry; its deletion removes the set as well.
pub(crate) fn is_namespace_ending(e: &ApiError) -> bool {
    let causes = e.details.iter().flat_map(|d| &d.causes);
    e.reason == Reason::Forbidden && causes.into_iter().any(|c| c.reason == "NamespaceTerminating")
}

fn pod_from_template(set: &Set, tree: &Tree) -> Tree {
    let template = &tree["spec"]["template"];
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": format!("{}-", set.meta.name()),
            "namespace": set.meta.namespace(),
            "ownerReferences": [Owner::controller(&REPLICA_SETS, &set.meta).tree()],
        },
        "spec": template["spec"],
    });
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template["metadata"].get(field).filter(|v| !v.is_null()) {
            pod["metadata"][field] = value.clone();
        }
    }
    pod
}
