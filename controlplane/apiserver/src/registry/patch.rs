//! Changing parts of an object: RFC 6902, RFC 7386 and strategic merge.

use super::replace::Part;
use super::{Call, Registry};
use crate::codec;
use crate::limits::MAX_BODY;
use coracle_client::Patch;
use coracle_proto::field::FieldError;
use coracle_proto::schema::decode::FieldValidation;
use coracle_proto::status::{Cause, Details, Reason};
use coracle_proto::{ApiError, Object, Tree, meta};
use json_patch::PatchOperation;
use std::sync::Mutex;

/// The most operations of one JSON patch; upstream's limit.
const MAX_OPERATIONS: usize = 10_000;

impl Registry {
    pub async fn patch(&self, call: &Call<'_>, patch: &Patch) -> Result<Object, ApiError> {
        self.patch_checked(call, patch, FieldValidation::Ignore).await.map(|(object, _)| object)
    }

    /// As [`Self::patch`], with the warnings about fields the result should not have.
    pub async fn patch_checked(
        &self,
        call: &Call<'_>,
        patch: &Patch,
        validation: FieldValidation,
    ) -> Result<(Object, Vec<String>), ApiError> {
        self.authorise(call, "patch")?;
        let part = match call.subresource {
            "" => Part::Main,
            "status" if call.subresource_exists("patch") => Part::Status,
            "scale" if call.subresource_exists("patch") => {
                return Ok((self.patch_scale(call, patch).await?, Vec::new()));
            }
            _ => return Err(call.not_found()),
        };
        let warnings = Mutex::new(Vec::new());
        let object = self
            .replace(call, part, |old| {
                let patched = apply(call.kind.facts().resource.kind.as_ref(), call, old, patch)?;
                let checked = codec::check(call.resource(), patched, validation)?;
                if let Ok(mut warnings) = warnings.lock() {
                    *warnings = checked.warnings;
                }
                Ok(without_old_version(checked.tree, old, patch))
            })
            .await?;
        Ok((object, warnings.into_inner().unwrap_or_default()))
    }
}

/// A patch that does not speak of the resourceVersion is tried again on what a conflict left.
fn without_old_version(mut new: Tree, old: &Tree, patch: &Patch) -> Tree {
    let named = match patch {
        Patch::Merge(tree) | Patch::Strategic(tree) => tree["metadata"].get("resourceVersion").is_some(),
        Patch::Json(tree) => {
            let operations = tree.as_array().into_iter().flatten();
            operations.into_iter().any(|op| op["path"] == "/metadata/resourceVersion")
        }
    };
    if !named && new["metadata"]["resourceVersion"] == old["metadata"]["resourceVersion"] {
        meta::metadata_mut(&mut new).remove("resourceVersion");
    }
    new
}

/// The object after the patch. Pure.
pub(super) fn apply(kind: &str, call: &Call<'_>, old: &Tree, patch: &Patch) -> Result<Tree, ApiError> {
    match patch {
        Patch::Json(operations) => apply_json(kind, call, old, operations),
        Patch::Merge(changes) => {
            if !changes.is_object() {
                return Err(ApiError::bad_request("error decoding patch: a merge patch must be a JSON object"));
            }
            let mut new = old.clone();
            json_patch::merge(&mut new, changes);
            Ok(new)
        }
        Patch::Strategic(changes) => codec::strategic_merge(call.resource(), old, changes),
    }
}

/// One by one, since each copy may double the document: what all of them add is bounded as a body is.
fn apply_json(kind: &str, call: &Call<'_>, old: &Tree, operations: &Tree) -> Result<Tree, ApiError> {
    let count = operations.as_array().map_or(0, Vec::len);
    if count > MAX_OPERATIONS {
        let why = format!("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}");
        return Err(ApiError::new(Reason::RequestEntityTooLarge, why));
    }
    let parsed: json_patch::Patch = serde_json::from_value(operations.clone())
        .map_err(|e| ApiError::bad_request(format!("error decoding patch: {e}")))?;
    let mut new = old.clone();
    let mut copied = 0;
    for (index, operation) in parsed.iter().enumerate() {
        if let PatchOperation::Copy(copy) = operation {
            copied += new.pointer(copy.from.as_str()).map_or(0, |source| source.to_string().len());
            if copied > MAX_BODY {
                let why = format!("the copies of a JSON patch may add {MAX_BODY} bytes at most");
                return Err(ApiError::new(Reason::RequestEntityTooLarge, why));
            }
        }
        json_patch::patch_unsafe(&mut new, std::slice::from_ref(operation)).map_err(|mut error| {
            error.operation = index;
            refused(kind, call, &error.to_string())
        })?;
    }
    Ok(new)
}

/// An operation that does not fit the object: 422, as upstream.
fn refused(kind: &str, call: &Call<'_>, why: &str) -> ApiError {
    let resource = call.resource();
    let mut error = ApiError::new(Reason::Invalid, "the server rejected our request due to an error in our request");
    let cause = FieldError::invalid("patch", "", why);
    error.details = Some(Box::new(Details {
        name: call.key.name.clone(),
        group: resource.group.to_string(),
        kind: kind.into(),
        causes: vec![Cause { reason: "FieldValueInvalid".into(), message: cause.body(), field: "patch".into() }],
        ..Details::default()
    }));
    error
}
