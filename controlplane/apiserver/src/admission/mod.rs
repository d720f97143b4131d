//! Admission: what may change or refuse a write between authorisation and validation. One file per plugin, in the
//! order of [`Registry::admit_create`].

mod namespace;
mod node_restriction;
mod pod_defaults;
mod runtime_class;
mod service_account;

pub(crate) use node_restriction::references;

use crate::codec;
use crate::registry::{Call, Registry};
use crate::resources::ResourceType;
use coracle_proto::{ApiError, Tree};
use coracle_store::View;

impl Registry {
    pub(crate) fn admit_create(&self, call: &Call<'_>, new: &mut Tree, view: &dyn View) -> Result<(), ApiError> {
        namespace::exists(call, new, view)?;
        if call.kind.facts().storage == "pods" {
            pod_defaults::admit(new)?;
            runtime_class::admit(new)?;
            service_account::admit(call, new, view)?;
        }
        node_restriction::create(call, new)
    }

    pub(crate) fn admit_update(&self, call: &Call<'_>, new: &Tree, old: &Tree) -> Result<(), ApiError> {
        node_restriction::update(call, new, old)
    }

    pub(crate) fn admit_token(&self, call: &Call<'_>, bound: Option<&Tree>) -> Result<(), ApiError> {
        node_restriction::token(call, bound)
    }

    pub(crate) fn admit_delete(&self, call: &Call<'_>, object: &Tree) -> Result<(), ApiError> {
        namespace::may_go(call)?;
        node_restriction::delete(call, object)
    }

    /// The fixed defaults of the schema, then those that depend on other fields.
    pub(crate) fn set_defaults(&self, kind: &dyn ResourceType, object: &mut Tree) -> Result<(), ApiError> {
        codec::set_defaults(&storage_resource(kind), object)?;
        kind.set_defaults(object);
        Ok(())
    }
}

/// The type an object is in while the registry works on it.
fn storage_resource(kind: &dyn ResourceType) -> coracle_proto::Resource {
    let resource = &kind.facts().resource;
    if kind.served_as_stored() { resource.clone() } else { coracle_proto::resource::EVENTS }
}
