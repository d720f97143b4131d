//! Deployments and their ReplicaSets as the plan reads and changes them.

use coracle_client::facts::Project;
use coracle_client::{Error, Involved, Meta};
use coracle_proto::resource::DEPLOYMENTS;
use coracle_proto::selector::LabelSelector;
use coracle_proto::{Object, Tree, meta};
use serde_json::Value;

#[derive(Clone, Debug)]
pub(crate) struct Deployment {
    pub(crate) meta: Meta,
    pub(crate) tree: Tree,
    pub(crate) selector: LabelSelector,
    pub(crate) replicas: i32,
    pub(crate) strategy: Strategy,
    pub(crate) paused: bool,
    pub(crate) min_ready_seconds: i32,
    /// `None`: progress has no deadline.
    pub(crate) progress_deadline: Option<i32>,
    /// `None`: all old sets are kept.
    pub(crate) history_limit: Option<usize>,
}

/// How to get from one template to the next, in pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    Recreate,
    RollingUpdate { max_surge: i32, max_unavailable: i32 },
}

impl Deployment {
    pub(crate) fn read(object: &Object) -> Result<Self, Error> {
        let tree = object.tree()?;
        let meta = Meta::project(object)?;
        let spec = &tree["spec"];
        let unusable = |why: String| Error::Unusable { what: format!("the deployment {}", meta.key), why };
        let selector = LabelSelector::from_tree(&spec["selector"]).map_err(|e| unusable(e.to_string()))?;
        let replicas = int(&spec["replicas"]).unwrap_or(1).max(0);
        let limit = |value: &Value| int(value).filter(|n| *n != i32::MAX);
        Ok(Self {
            selector: selector.unwrap_or_default(),
            replicas,
            strategy: Strategy::read(&spec["strategy"], replicas),
            paused: spec["paused"] == true,
            min_ready_seconds: int(&spec["minReadySeconds"]).unwrap_or(0),
            progress_deadline: limit(&spec["progressDeadlineSeconds"]),
            history_limit: limit(&spec["revisionHistoryLimit"]).and_then(|n| n.try_into().ok()),
            meta,
            tree,
        })
    }

    pub(crate) fn recreates(&self) -> bool {
        self.strategy == Strategy::Recreate
    }

    /// Pods it may have beyond `replicas`.
    pub(crate) fn max_surge(&self) -> i32 {
        match self.strategy {
            Strategy::Recreate => 0,
            Strategy::RollingUpdate { max_surge, .. } => max_surge,
        }
    }

    /// Pods of `replicas` that it may do without.
    pub(crate) fn max_unavailable(&self) -> i32 {
        match self.strategy {
            Strategy::Recreate => 0,
            Strategy::RollingUpdate { max_unavailable, .. } => max_unavailable,
        }
    }

    pub(crate) fn template(&self) -> &Tree {
        &self.tree["spec"]["template"]
    }

    pub(crate) fn status(&self) -> &Tree {
        &self.tree["status"]
    }

    pub(crate) fn status_count(&self, field: &str) -> i32 {
        int(&self.status()[field]).unwrap_or(0)
    }

    pub(crate) fn involved(&self) -> Involved {
        Involved::of(&DEPLOYMENTS, &self.meta)
    }
}

impl Strategy {
    /// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment>: a surge rounds
    /// up, unavailability rounds down, and if both come to nothing one pod may be unavailable, else nothing could move.
    fn read(tree: &Tree, replicas: i32) -> Self {
        if tree["type"] == "Recreate" {
            return Self::Recreate;
        }
        let rolling = &tree["rollingUpdate"];
        let max_surge = amount(&rolling["maxSurge"], replicas, Round::Up);
        let mut max_unavailable = amount(&rolling["maxUnavailable"], replicas, Round::Down);
        if max_surge == 0 && max_unavailable == 0 {
            max_unavailable = 1;
        }
        Self::RollingUpdate { max_surge, max_unavailable: max_unavailable.min(replicas) }
    }
}

enum Round {
    Up,
    Down,
}

/// An `IntOrString`: a number, or a percentage of `total`.
fn amount(value: &Value, total: i32, round: Round) -> i32 {
    let percent = value.as_str().and_then(|text| text.strip_suffix('%')?.parse::<i64>().ok());
    let exact = match percent {
        None => return int(value).unwrap_or(0).max(0),
        Some(percent) => i64::from(total) * percent.max(0),
    };
    let amount = match round {
        Round::Up => (exact + 99) / 100,
        Round::Down => exact / 100,
    };
    amount.try_into().unwrap_or(i32::MAX)
}

/// One ReplicaSet of a Deployment. Changes are made here first and written afterwards.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    pub(crate) meta: Meta,
    pub(crate) tree: Tree,
    /// `spec.replicas`, as planned so far.
    pub(crate) replicas: i32,
    /// `spec.replicas` as it was found.
    pub(crate) found: i32,
    pub(crate) status: Counts,
    /// To be written.
    pub(crate) dirty: bool,
    /// Does not exist yet.
    pub(crate) is_new: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) replicas: i32,
    pub(crate) ready: i32,
    pub(crate) available: i32,
    pub(crate) observed_generation: i64,
}

impl Set {
    pub(crate) fn read(object: &Object) -> Result<Self, Error> {
        let tree = object.tree()?;
        let count = |field: &str| int(&tree["status"][field]).unwrap_or(0);
        let replicas = int(&tree["spec"]["replicas"]).unwrap_or(1);
        Ok(Self {
            meta: Meta::project(object)?,
            replicas,
            found: replicas,
            status: Counts {
                replicas: count("replicas"),
                ready: count("readyReplicas"),
                available: count("availableReplicas"),
                observed_generation: tree["status"]["observedGeneration"].as_i64().unwrap_or(0),
            },
            tree,
            dirty: false,
            is_new: false,
        })
    }

    pub(crate) fn name(&self) -> &str {
        meta::name(&self.tree)
    }

    pub(crate) fn template(&self) -> &Tree {
        &self.tree["spec"]["template"]
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        meta::annotation(&self.tree, key)
    }

    /// Returns whether that changed anything.
    pub(crate) fn annotate(&mut self, key: &str, value: &str) -> bool {
        if self.annotation(key) == Some(value) {
            return false;
        }
        meta::entry_object(&mut self.tree["metadata"], "annotations").insert(key.into(), value.into());
        self.dirty = true;
        true
    }

    pub(crate) fn resize(&mut self, replicas: i32) {
        if self.replicas != replicas {
            self.replicas = replicas;
            self.tree["spec"]["replicas"] = replicas.into();
            self.dirty = true;
        }
    }
}

pub(crate) fn int(value: &Value) -> Option<i32> {
    value.as_i64()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn surge_rounds_up_and_unavailability_down() {
        // (maxSurge, maxUnavailable, replicas) → (surge, unavailable)
        let table = [
            (json!("25%"), json!("25%"), 4, (1, 1)),
            (json!("25%"), json!("25%"), 3, (1, 0)),
            (json!("25%"), json!("25%"), 10, (3, 2)),
            (json!(0), json!("25%"), 3, (0, 1)),
            (json!(0), json!(0), 3, (0, 1)),
            (json!(0), json!(0), 0, (0, 0)),
            (json!(2), json!(5), 3, (2, 3)),
            (json!("100%"), json!("0%"), 3, (3, 0)),
            (json!("1000%"), json!(0), i32::MAX, (i32::MAX, 0)),
            (Value::Null, Value::Null, 3, (0, 1)),
        ];
        for (surge, unavailable, replicas, want) in table {
            let tree = json!({"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
            let want = Strategy::RollingUpdate { max_surge: want.0, max_unavailable: want.1 };
            assert_eq!(Strategy::read(&tree, replicas), want, "{tree} of {replicas}");
        }
        assert_eq!(Strategy::read(&json!({"type": "Recreate"}), 3), Strategy::Recreate);
    }
}
