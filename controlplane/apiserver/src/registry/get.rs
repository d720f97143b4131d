//! Reading one object.

use super::{Call, Registry, errors, keys};
use crate::resources::ResourceType;
use coracle_proto::api::ReadAt;
use coracle_proto::{ApiError, Object, Tree};
use coracle_store::{Entry, Revision, View};
use std::sync::Arc;

impl Registry {
    /// The object in the form its kind is served in.
    pub async fn get(&self, call: &Call<'_>, at: ReadAt) -> Result<Object, ApiError> {
        self.authorise(call, "get")?;
        match call.subresource {
            "" | "status" => {}
            "scale" => return self.get_scale(call, at).await,
            _ => return Err(call.not_found()),
        }
        let view = self.view(at).await?;
        self.read(call, &*view)
    }

    pub(super) fn read(&self, call: &Call<'_>, view: &dyn View) -> Result<Object, ApiError> {
        let entry = view.get(&keys::object(call.kind, &call.key)).ok_or_else(|| call.not_found())?;
        served(call.kind, entry)
    }

    /// The state to answer a read from.
    pub(super) async fn view(&self, at: ReadAt) -> Result<Arc<dyn View>, ApiError> {
        match at {
            ReadAt::Latest => self.store.read_barrier().await,
            ReadAt::Any => Ok(()),
            ReadAt::NotOlderThan(revision) => self.store.wait_for(Revision(revision)).await,
            ReadAt::Exact(revision) => {
                return self.store.view_at(Revision(revision)).map_err(errors::read_error);
            }
        }
        .map_err(errors::read_error)?;
        Ok(self.store.view())
    }
}

/// An entry as its kind is served.
pub(super) fn served(kind: &dyn ResourceType, entry: Entry) -> Result<Object, ApiError> {
    let object = Object { revision: entry.modified.0, json: entry.value };
    if kind.served_as_stored() {
        return Ok(object);
    }
    let mut tree = object.tree()?;
    kind.to_served(&mut tree);
    Ok(from_tree(&tree, object.revision))
}

/// A tree that was never stored: a dry run, a converted object.
pub(super) fn from_tree(tree: &Tree, revision: u64) -> Object {
    let json = match revision {
        0 => tree.to_string().into(),
        _ => crate::stamp::canonical_at(tree, &revision.to_string()),
    };
    Object { revision, json }
}
