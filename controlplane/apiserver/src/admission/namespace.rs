//! NamespaceLifecycle: nothing is created in a namespace that is not there or is going.

use crate::registry::Call;
use coracle_proto::resource::NAMESPACES;
use coracle_proto::status::{Cause, Details};
use coracle_proto::{ApiError, Tree, meta};
use coracle_store::View;

/// Never deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-public", "kube-system"];

pub fn exists(call: &Call<'_>, new: &Tree, view: &dyn View) -> Result<(), ApiError> {
    if !call.resource().namespaced {
        return Ok(());
    }
    let name = meta::namespace(new);
    let entry = view.get(&format!("namespaces/{name}"));
    let entry = entry.ok_or_else(|| ApiError::not_found(&NAMESPACES, name))?;
    let namespace: Tree = serde_json::from_slice(&entry.value)
        .map_err(|e| ApiError::internal(format_args!("decoding the stored namespace {name}: {e}")))?;
    if !meta::is_deleting(&namespace) {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {name} because it is being terminated");
    let mut error = ApiError::forbidden(call.resource(), meta::name(new), why);
    let cause = Cause {
        reason: "NamespaceTerminating".into(),
        message: format!("namespace {name} is being terminated"),
        field: "metadata.namespace".into(),
    };
    let details = error.details.get_or_insert_with(|| Box::new(Details::default()));
    details.causes.push(cause);
    Err(error)
}

pub fn may_go(call: &Call<'_>) -> Result<(), ApiError> {
    if call.kind.facts().storage == "namespaces" && IMMORTAL.contains(&call.key.name.as_str()) {
        return Err(ApiError::forbidden(call.resource(), &call.key.name, "this namespace may not be deleted"));
    }
    Ok(())
}
