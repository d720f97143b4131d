//! One step of a Deployment: which ReplicaSets to make, resize, delete, and the status after it. Pure.

use super::objects::{Deployment, Set};
use super::scale::Newest;
use super::{revision, scale, status, template};
use crate::conditions;
use coracle_client::facts::Owner;
use coracle_client::{Error, Next, PodFacts};
use coracle_proto::resource::{DEPLOYMENTS, REPLICA_SETS};
use coracle_proto::{Object, Tree};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// In the order to carry out: sets first, then deletions, revision, status.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) writes: Vec<Write>,
    pub(crate) deletions: Vec<Set>,
    /// The Deployment's own revision annotation, if it changes.
    pub(crate) revision: Option<String>,
    pub(crate) status: Map<String, Value>,
    pub(crate) next: Option<std::time::Duration>,
}

/// A set to create or update.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) set: Set,
}

struct Step<'a> {
    deployment: &'a Deployment,
    sets: Vec<Set>,
    newest: Newest,
    conditions: Vec<Tree>,
    now: Timestamp,
}

/// `old_pods` are all pods of the sets, terminating ones too; only Recreate looks at them.
pub(crate) fn plan(
    deployment: &Deployment,
    mut sets: Vec<Set>,
    old_pods: &[Arc<PodFacts>],
    now: Timestamp,
) -> Result<Plan, Error> {
    sets.sort_by(|a, b| (a.meta.created, a.name()).cmp(&(b.meta.created, b.name())));
    let newest = sets.iter().position(|set| template::same(set.template(), deployment.template()));
    let conditions = deployment.status()["conditions"].as_array().cloned().unwrap_or_default();
    let mut step = Step { deployment, sets, newest, conditions, now };
    if deployment.meta.is_deleting() {
        return Ok(step.finish(Vec::new(), None, false));
    }
    step.note_pause();
    let follows = deployment.paused || scale::is_pending(deployment, &step.sets);
    let revision = step.sync_revision(!follows && !deployment.recreates())?;
    if follows {
        scale::follow(deployment, &mut step.sets, step.newest);
        let doomed = if deployment.paused { step.surplus_history() } else { Vec::new() };
        return Ok(step.finish(doomed, revision, false));
    }
    let (busy, revision) =
        if deployment.recreates() { step.recreate(old_pods, revision)? } else { (step.roll(), revision) };
    let complete = step.counts_before_were_complete();
    let doomed = if !busy && complete { step.surplus_history() } else { Vec::new() };
    Ok(step.finish(doomed, revision, true))
}

impl Step<'_> {
    /// A pause stops the clock of the progress deadline, resuming starts it again.
    fn note_pause(&mut self) {
        if self.deployment.progress_deadline.is_none() {
            return;
        }
        let reason = conditions::find(&self.conditions, "Progressing").and_then(|c| c["reason"].as_str());
        let change = match (self.deployment.paused, reason) {
            (_, Some(status::TIMED_OUT)) | (true, Some(status::PAUSED)) => return,
            (true, _) => (status::PAUSED, "Deployment is paused"),
            (false, Some(status::PAUSED)) => ("DeploymentResumed", "Deployment is resumed"),
            (false, _) => return,
        };
        let condition = status::condition("Progressing", "Unknown", change.0, change.1, self.now);
        conditions::set(&mut self.conditions, condition);
    }

    /// Makes sure the newest set exists (if `create`) and carries the highest revision. Returns the revision for the
    /// Deployment.
    fn sync_revision(&mut self, create: bool) -> Result<Option<String>, Error> {
        let old = self.sets.iter().enumerate().filter(|(at, _)| Some(*at) != self.newest).map(|(_, set)| set);
        let next = revision::highest(old) + 1;
        if let Some(at) = self.newest {
            let set = &mut self.sets[at];
            revision::annotate(self.deployment, set, next);
            if set.tree["spec"]["minReadySeconds"].as_i64().unwrap_or(0) != i64::from(self.deployment.min_ready_seconds)
            {
                set.tree["spec"]["minReadySeconds"] = self.deployment.min_ready_seconds.into();
                set.dirty = true;
            }
            let revision = set.annotation(revision::REVISION).map(str::to_owned);
            let message = format!("Found new replica set {:?}", set.name());
            if conditions::find(&self.conditions, "Progressing").is_none() {
                self.note_progressing("FoundNewReplicaSet", &message);
            }
            return Ok(revision);
        }
        if !create {
            return Ok(None);
        }
        let set = self.new_set(next)?;
        let message = format!("Created new replica set {:?}", set.name());
        self.note_progressing("NewReplicaSetCreated", &message);
        self.newest = Some(self.sets.len());
        self.sets.push(set);
        Ok(Some(next.to_string()))
    }

    fn note_progressing(&mut self, reason: &str, message: &str) {
        if self.deployment.progress_deadline.is_some() {
            let condition = status::condition("Progressing", "True", reason, message, self.now);
            conditions::set(&mut self.conditions, condition);
        }
    }

    fn new_set(&self, next: i64) -> Result<Set, Error> {
        let deployment = self.deployment;
        let collisions = super::objects::int(&deployment.status()["collisionCount"]);
        let hash = template::hash(deployment.template(), collisions);
        let mut pod_template = deployment.template().clone();
        template::with_hash(&mut pod_template["metadata"], "labels", &hash);
        let mut selector = deployment.tree["spec"]["selector"].clone();
        template::with_hash(&mut selector, "matchLabels", &hash);
        let all = self.sets.iter().map(|set| set.replicas).sum();
        let replicas = scale::newest_size(deployment, all, 0);
        let body = json!({
            "apiVersion": REPLICA_SETS.api_version(), "kind": REPLICA_SETS.kind,
            "metadata": {
                "name": template::set_name(deployment.meta.name(), &hash),
                "namespace": deployment.meta.namespace(),
                "labels": pod_template["metadata"]["labels"],
                "annotations": {},
                "ownerReferences": [Owner::controller(&DEPLOYMENTS, &deployment.meta).tree()],
            },
            "spec": {
                "replicas": replicas, "minReadySeconds": deployment.min_ready_seconds,
                "selector": selector, "template": pod_template,
            },
        });
        let mut set = Set::read(&Object { revision: 0, json: body.to_string().into() })?;
        set.is_new = true;
        set.dirty = true;
        set.found = 0;
        revision::annotate(deployment, &mut set, next);
        Ok(set)
    }

    /// Returns whether something was resized.
    fn roll(&mut self) -> bool {
        let Some(newest) = self.newest else { return false };
        scale::reconcile_newest(self.deployment, &mut self.sets, newest)
            || scale::reconcile_old(self.deployment, &mut self.sets, newest)
    }

    /// All old pods must be gone before the first new one is made.
    fn recreate(&mut self, pods: &[Arc<PodFacts>], revision: Option<String>) -> Result<(bool, Option<String>), Error> {
        if scale::remove_old(self.deployment, &mut self.sets, self.newest) || self.old_pods_run(pods) {
            return Ok((true, revision));
        }
        let revision = if self.newest.is_none() { self.sync_revision(true)? } else { revision };
        let busy = self.newest.is_some_and(|at| scale::reconcile_newest(self.deployment, &mut self.sets, at));
        Ok((busy, revision))
    }

    fn old_pods_run(&self, pods: &[Arc<PodFacts>]) -> bool {
        let newest = self.newest.map(|at| self.sets[at].meta.uid.clone());
        let old = |set: &Set| Some(&set.meta.uid) != newest.as_ref();
        let reported = self.sets.iter().any(|set| old(set) && set.status.replicas > 0);
        let is_old = |pod: &PodFacts| newest.as_ref().is_none_or(|uid| !pod.meta.is_controlled_by(uid));
        reported || pods.iter().any(|pod| is_old(pod) && !pod.is_terminal())
    }

    /// Upstream cleans up on the status as it was last written.
    fn counts_before_were_complete(&self) -> bool {
        let deployment = self.deployment;
        let count = |field| deployment.status_count(field);
        let wanted = deployment.replicas;
        count("updatedReplicas") == wanted
            && count("replicas") == wanted
            && count("availableReplicas") == wanted
            && deployment.status()["observedGeneration"].as_i64().unwrap_or(0) >= deployment.meta.generation
    }

    /// Old sets beyond `revisionHistoryLimit`, lowest revision first, of those that are empty and settled.
    fn surplus_history(&self) -> Vec<Set> {
        let Some(limit) = self.deployment.history_limit else { return Vec::new() };
        let kept = self.sets.iter().enumerate().filter(|(at, set)| Some(*at) != self.newest && !set.meta.is_deleting());
        let mut old: Vec<&Set> = kept.map(|(_, set)| set).collect();
        old.sort_by_key(|set| (revision::of(set), set.meta.created));
        let surplus = old.len().saturating_sub(limit);
        let settled = |set: &&&Set| {
            set.replicas == 0 && set.status.replicas == 0 && set.meta.generation <= set.status.observed_generation
        };
        old.iter().take(surplus).filter(settled).map(|set| (*set).clone()).collect()
    }

    fn finish(self, deletions: Vec<Set>, revision: Option<String>, rollout: bool) -> Plan {
        let Self { deployment, sets, newest, mut conditions, now } = self;
        let counts = status::Counts::of(&sets, newest);
        if rollout {
            status::progress(deployment, &counts, newest.map(|at| sets[at].name()), &mut conditions, now);
            status::replica_failure(&sets, newest, &mut conditions);
        }
        let status = status::fields(deployment, &counts, conditions, now);
        let list = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let next = status::check_again(deployment, &counts, list, now);
        let current = coracle_proto::meta::annotation(&deployment.tree, revision::REVISION);
        let revision = revision.filter(|r| Some(r.as_str()) != current);
        let writes = sets.into_iter().filter(|set| set.dirty).map(|set| Write { set }).collect();
        Plan { writes, deletions, revision, status, next }
    }
}

impl Plan {
    pub(crate) fn next(&self) -> Next {
        self.next.map_or(Next::Done, Next::After)
    }
}
