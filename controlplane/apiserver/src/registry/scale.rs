//! The scale subresource: `autoscaling/v1 Scale` over a Deployment or ReplicaSet.

use super::replace::Part;
use super::{Call, Registry, get, patch};
use crate::validate::int;
use coracle_client::Patch;
use coracle_proto::api::ReadAt;
use coracle_proto::field::FieldError;
use coracle_proto::selector::LabelSelector;
use coracle_proto::{ApiError, Object, Tree, meta};
use serde_json::json;

impl Registry {
    pub(super) async fn get_scale(&self, call: &Call<'_>, at: ReadAt) -> Result<Object, ApiError> {
        if !call.subresource_exists("get") {
            return Err(call.not_found());
        }
        let view = self.view(at).await?;
        let object = self.read(call, &*view)?;
        Ok(get::from_tree(&scale_of(&object.tree()?), object.revision))
    }

    pub(super) async fn put_scale(&self, call: &Call<'_>, scale: &Tree) -> Result<Object, ApiError> {
        let version = scale["metadata"].get("resourceVersion").cloned();
        self.rescale(call, version, |_| Ok(scale.clone())).await
    }

    pub(super) async fn patch_scale(&self, call: &Call<'_>, patch: &Patch) -> Result<Object, ApiError> {
        // The type has no merged lists: both merges come to the same.
        let patch = match patch {
            Patch::Strategic(tree) => &Patch::Merge(tree.clone()),
            other => other,
        };
        let version = match patch {
            Patch::Merge(tree) => tree["metadata"].get("resourceVersion").cloned(),
            _ => None,
        };
        self.rescale(call, version, |scale| patch::apply("Scale", call, scale, patch)).await
    }

    /// `version` is the precondition the caller named.
    async fn rescale<F>(&self, call: &Call<'_>, version: Option<Tree>, mut change: F) -> Result<Object, ApiError>
    where
        F: FnMut(&Tree) -> Result<Tree, ApiError> + Send,
    {
        let rescaled = |old: &Tree| {
            let replicas = validated(call, &change(&scale_of(old))?)?;
            let mut new = old.clone();
            new["spec"]["replicas"] = replicas.into();
            let metadata = meta::metadata_mut(&mut new);
            match &version {
                Some(version) => metadata.insert("resourceVersion".into(), version.clone()),
                None => metadata.remove("resourceVersion"),
            };
            Ok(new)
        };
        let object = self.replace(call, Part::Main, rescaled).await?;
        Ok(get::from_tree(&scale_of(&object.tree()?), object.revision))
    }
}

fn validated(call: &Call<'_>, scale: &Tree) -> Result<i64, ApiError> {
    let replicas = match &scale["spec"]["replicas"] {
        Tree::Null => 0,
        value => value.as_i64().ok_or_else(|| ApiError::bad_request("Scale: spec.replicas must be an integer"))?,
    };
    if replicas < 0 {
        let why = FieldError::invalid("spec.replicas", replicas, "must be greater than or equal to 0");
        return Err(ApiError::invalid("autoscaling", "Scale", &call.key.name, &[why]));
    }
    Ok(replicas)
}

fn scale_of(object: &Tree) -> Tree {
    let from = &object["metadata"];
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if !from[field].is_null() {
            metadata[field] = from[field].clone();
        }
    }
    let mut scale = json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata,
        "spec": {"replicas": int(&object["spec"], "replicas")},
        "status": {"replicas": int(&object["status"], "replicas")},
    });
    if let Ok(Some(selector)) = LabelSelector::from_tree(&object["spec"]["selector"]) {
        scale["status"]["selector"] = selector.to_string().into();
    }
    scale
}
