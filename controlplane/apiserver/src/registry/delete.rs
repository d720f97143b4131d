//! Deleting an object, or all that match.

use super::commit::{self, Committing};
use super::delete_plan::{Plan, plan};
use super::replace::parse;
use super::{Call, Registry, allocation, get, keys};
use crate::limits::MAX_CONFLICT_RETRIES;
use coracle_client::DeleteOptions;
use coracle_proto::api::ReadAt;
use coracle_proto::{ApiError, ListOptions, Object, ObjectKey, Tree, meta};
use coracle_store::{Entry, Expect};
use jiff::Timestamp;

/// What a DELETE came to.
#[derive(Clone, Debug)]
pub struct Deleted {
    /// As it was, or as it is while something holds it.
    pub object: Object,
    pub gone: bool,
}

impl Registry {
    pub async fn delete(&self, call: &Call<'_>, options: &DeleteOptions) -> Result<Deleted, ApiError> {
        self.authorise(call, "delete")?;
        if !call.subresource.is_empty() {
            return Err(call.not_found());
        }
        self.delete_authorised(call, options).await
    }

    pub(super) async fn delete_authorised(
        &self,
        call: &Call<'_>,
        options: &DeleteOptions,
    ) -> Result<Deleted, ApiError> {
        let key = keys::object(call.kind, &call.key);
        for _ in 0..MAX_CONFLICT_RETRIES {
            let view = self.view(ReadAt::Latest).await?;
            let entry = view.get(&key).ok_or_else(|| call.not_found())?;
            let object = parse(&entry)?;
            self.admit_delete(call, &object)?;
            check_preconditions(call, options, &object, &entry)?;
            if let Some(deleted) = self.try_delete(call, options, entry, &object).await? {
                return Ok(deleted);
            }
        }
        Err(ApiError::modified(call.resource(), &call.key.name))
    }

    /// `None` after a conflict.
    async fn try_delete(
        &self,
        call: &Call<'_>,
        options: &DeleteOptions,
        entry: Entry,
        object: &Tree,
    ) -> Result<Option<Deleted>, ApiError> {
        let expect = Expect::At(entry.modified);
        let planned = plan(object, options, Timestamp::now());
        let dry = options.dry_run || call.dry_run;
        let (ops, gone) = match planned {
            Plan::Leave => return Ok(Some(Deleted { object: get::served(call.kind, entry)?, gone: false })),
            Plan::Mark(_) | Plan::Remove if dry => {
                let gone = planned == Plan::Remove;
                return Ok(Some(Deleted { object: get::served(call.kind, entry)?, gone }));
            }
            Plan::Mark(marked) => (vec![commit::put(entry.key.clone(), expect, &marked)], false),
            Plan::Remove => {
                let mut ops = vec![commit::remove(entry.key.clone(), expect)];
                ops.extend(allocation::release_all(call.kind, object));
                (ops, true)
            }
        };
        match self.commit(call, ops).await? {
            Committing::Done(committed) => Ok(Some(Deleted { object: commit::first(call, committed)?, gone })),
            Committing::Conflict(_) => Ok(None),
        }
    }

    /// Deletes what the options list, one by one; what vanishes meanwhile is no error.
    pub async fn delete_collection(
        &self,
        call: &Call<'_>,
        list: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<coracle_proto::ObjectList, ApiError> {
        self.authorise(call, "deletecollection")?;
        let found = self.list_authorised(call, list).await?;
        for object in &found.items {
            let tree = object.tree()?;
            let one = Call { key: ObjectKey::of(&tree), ..call.clone() };
            match self.delete_authorised(&one, options).await {
                Err(error) if error.is_not_found() => {}
                other => drop(other?),
            }
        }
        Ok(found)
    }
}

fn check_preconditions(call: &Call<'_>, options: &DeleteOptions, object: &Tree, entry: &Entry) -> Result<(), ApiError> {
    let (name, present) = (&call.key.name, meta::uid(object));
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != present) {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {present}");
        return Err(ApiError::conflict(call.resource(), name, why));
    }
    let version = entry.modified.0.to_string();
    if let Some(wanted) = options.resource_version.as_deref().filter(|v| *v != version) {
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {version}"
        );
        return Err(ApiError::conflict(call.resource(), name, why));
    }
    Ok(())
}
