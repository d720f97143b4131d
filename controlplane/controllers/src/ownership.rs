//! Which objects a workload manages: it adopts what its selector matches and nobody else manages, and lets go of
//! what no longer matches. <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#how-a-replicaset-works>

use coracle_client::facts::Owner;
use coracle_client::{Meta, Patch, ResourceApi};
use coracle_proto::selector::LabelSelector;
use coracle_proto::status::Reason;
use coracle_proto::{ApiError, Object, Resource, meta};
use serde_json::json;

/// What a claimant does about one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is ours and stays so.
    Keep,
    Adopt,
    Release,
    /// It is none of our business.
    Ignore,
}

/// Pure. An empty selector claims nothing.
pub(crate) fn claim(claimant: &Meta, selector: &LabelSelector, object: &Meta) -> Claim {
    let matches = !selector.is_empty() && selector.matches(&object.labels);
    match object.controller() {
        Some(owner) if owner.uid != claimant.uid => Claim::Ignore,
        Some(_) if matches => Claim::Keep,
        Some(_) if claimant.is_deleting() => Claim::Ignore,
        Some(_) => Claim::Release,
        None if !matches || claimant.is_deleting() || object.is_deleting() => Claim::Ignore,
        None => Claim::Adopt,
    }
}

/// Reads the claimant afresh before it adopts anything: a cached one may have been deleted and made again.
pub(crate) async fn may_adopt(api: &dyn ResourceApi, resource: &Resource, claimant: &Meta) -> Result<bool, ApiError> {
    match api.get(resource, &claimant.key).await {
        Ok(object) => {
            let tree = object.tree()?;
            Ok(meta::uid(&tree) == &*claimant.uid && !meta::is_deleting(&tree))
        }
        Err(e) if e.is_not_found() => Ok(false),
        Err(e) => Err(e),
    }
}

/// `None`: the object is gone, or somebody else's by now.
pub(crate) async fn adopt(
    api: &dyn ResourceApi,
    (owner_kind, owner): (&Resource, &Meta),
    (kind, object): (&Resource, &Meta),
) -> Result<Option<Object>, ApiError> {
    let reference = Owner::controller(owner_kind, owner).tree();
    let patch = json!({"metadata": {"uid": object.uid, "ownerReferences": [reference]}});
    settled(api.patch(kind, &object.key, "", Patch::Strategic(patch)).await)
}

pub(crate) async fn release(
    api: &dyn ResourceApi,
    owner: &Meta,
    (kind, object): (&Resource, &Meta),
) -> Result<Option<Object>, ApiError> {
    let reference = json!({"$patch": "delete", "uid": owner.uid});
    let patch = json!({"metadata": {"uid": object.uid, "ownerReferences": [reference]}});
    settled(api.patch(kind, &object.key, "", Patch::Strategic(patch)).await)
}

fn settled(result: Result<Object, ApiError>) -> Result<Option<Object>, ApiError> {
    match result {
        Ok(object) => Ok(Some(object)),
        // Gone, or made again under another uid, or adopted by somebody else, which validation refuses.
        Err(e) if matches!(e.reason, Reason::NotFound | Reason::Conflict | Reason::Invalid) => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::meta;

    #[test]
    fn claims() {
        let selector = LabelSelector::parse("app=web").expect("valid");
        let owner = meta(json!({"name": "rs", "uid": "u1"}));
        let dying = meta(json!({"name": "rs", "uid": "u1", "deletionTimestamp": "2026-01-01T00:00:00Z"}));
        let object = |labels, controller: Option<&str>, deleting: bool| {
            let mut tree = json!({"name": "p", "labels": labels});
            if let Some(uid) = controller {
                tree["ownerReferences"] = json!([{"uid": uid, "controller": true}]);
            }
            if deleting {
                tree["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            }
            meta(tree)
        };
        let (yes, no) = (json!({"app": "web"}), json!({"app": "db"}));
        let table = [
            (&owner, object(yes.clone(), Some("u1"), false), Claim::Keep),
            (&owner, object(no.clone(), Some("u1"), false), Claim::Release),
            (&dying, object(no.clone(), Some("u1"), false), Claim::Ignore),
            (&owner, object(yes.clone(), Some("u2"), false), Claim::Ignore),
            (&owner, object(yes.clone(), None, false), Claim::Adopt),
            (&owner, object(yes.clone(), None, true), Claim::Ignore),
            (&dying, object(yes.clone(), None, false), Claim::Ignore),
            (&owner, object(no, None, false), Claim::Ignore),
        ];
        for (at, (claimant, object, want)) in table.iter().enumerate() {
            assert_eq!(claim(claimant, &selector, object), *want, "row {at}");
        }
        assert_eq!(claim(&owner, &LabelSelector::default(), &object(yes, None, false)), Claim::Ignore);
    }
}
