//! Read, change, check, commit; again after a conflict. What update, patch and the writing subresources share.

use super::commit::{self, Committing};
use super::{Call, Registry, create::accept_key, get, keys};
use crate::limits::MAX_CONFLICT_RETRIES;
use crate::validate::{self, Errors};
use coracle_proto::api::ReadAt;
use coracle_proto::{ApiError, Object, Tree, meta};
use coracle_store::{Entry, Expect, View};

/// Which rules an update goes by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The object without its status.
    Main,
    Status,
    /// What a subresource itself has checked already: binding, finalize.
    Trusted,
}

impl Registry {
    /// `make` gets the present object as it is served and returns what it should become. It may be called again.
    pub(super) async fn replace<F>(&self, call: &Call<'_>, part: Part, mut make: F) -> Result<Object, ApiError>
    where
        F: FnMut(&Tree) -> Result<Tree, ApiError> + Send,
    {
        let key = keys::object(call.kind, &call.key);
        for attempt in 0..MAX_CONFLICT_RETRIES {
            // What this server has not seen yet may be the reason for whatever fails at first.
            let view = if attempt == 0 { self.store.view() } else { self.view(ReadAt::Latest).await? };
            let entry = match view.get(&key) {
                Some(entry) => entry,
                None if attempt == 0 => continue,
                None => return Err(call.not_found()),
            };
            let old = parse(&entry)?;
            let mut served = old.clone();
            call.kind.to_served(&mut served);
            let mut new = make(&served)?;
            let conditional = match preconditions(call, &new, &old, &entry) {
                Err(error) if error.is_conflict() && attempt == 0 => continue,
                other => other?,
            };
            let changed = self.finish(call, part, &mut new, &old)?;
            if !changed || call.dry_run {
                let mut answer = if changed { new } else { old };
                call.kind.to_served(&mut answer);
                return Ok(get::from_tree(&answer, entry.modified.0));
            }
            match self.commit_replacement(call, &entry, &mut new, &old, &*view).await? {
                Some(object) => return Ok(object),
                None if conditional => return Err(ApiError::modified(call.resource(), &call.key.name)),
                None => {}
            }
        }
        Err(ApiError::modified(call.resource(), &call.key.name))
    }

    /// Everything between the new object and its commit. `new` comes as served and leaves as stored.
    fn finish(&self, call: &Call<'_>, part: Part, new: &mut Tree, old: &Tree) -> Result<bool, ApiError> {
        accept_key(call, new)?;
        call.kind.to_storage(new);
        keep_system_fields(new, old);
        let mut errors = Errors::new();
        match part {
            Part::Main => {
                self.set_defaults(call.kind, new)?;
                call.kind.prepare_update(new, old);
                self.admit_update(call, new, old)?;
                validate::metadata(call.kind, new, &mut errors);
                validate::metadata_update(new, old, &mut errors);
                call.kind.validate(new, &mut errors);
                call.kind.validate_update(new, old, &mut errors);
            }
            Part::Status => {
                *new = call.kind.with_status(new, old);
                self.admit_update(call, new, old)?;
                validate::metadata(call.kind, new, &mut errors);
                call.kind.validate_status(new, old, &mut errors);
            }
            Part::Trusted => {}
        }
        if !errors.is_empty() {
            let resource = call.resource();
            return Err(ApiError::invalid(&resource.group, &resource.kind, &call.key.name, &errors));
        }
        meta::metadata_mut(new).insert("resourceVersion".into(), old["metadata"]["resourceVersion"].clone());
        if call.kind.facts().generation && spec_changed(new, old) {
            let next = meta::generation(old) + 1;
            meta::metadata_mut(new).insert("generation".into(), next.into());
        }
        Ok(new != old)
    }

    /// `None` after a conflict.
    async fn commit_replacement(
        &self,
        call: &Call<'_>,
        entry: &Entry,
        new: &mut Tree,
        old: &Tree,
        view: &dyn View,
    ) -> Result<Option<Object>, ApiError> {
        let expect = Expect::At(entry.modified);
        let (mut ops, mut errors) = (Vec::new(), Errors::new());
        let finished = is_finished(new);
        if finished {
            ops.push(commit::remove(entry.key.clone(), expect));
            ops.extend(super::allocation::release_all(call.kind, old));
        } else {
            let mut allocations = Vec::new();
            self.allocate(call.kind, new, Some(old), view, &mut allocations, &mut errors);
            if !errors.is_empty() {
                let resource = call.resource();
                return Err(ApiError::invalid(&resource.group, &resource.kind, &call.key.name, &errors));
            }
            ops.push(commit::put(entry.key.clone(), expect, new));
            ops.extend(allocations);
        }
        match self.commit(call, ops).await? {
            Committing::Conflict(_) => Ok(None),
            Committing::Done(committed) if finished => {
                call.kind.to_served(new);
                Ok(Some(get::from_tree(new, committed.revision.0)))
            }
            Committing::Done(committed) => commit::first(call, committed).map(Some),
        }
    }
}

pub(super) fn parse(entry: &Entry) -> Result<Tree, ApiError> {
    serde_json::from_slice(&entry.value)
        .map_err(|e| ApiError::internal(format_args!("decoding the stored {}: {e}", entry.key)))
}

/// The body's resourceVersion and uid, where it has them. Says whether a later conflict is the caller's to solve.
fn preconditions(call: &Call<'_>, new: &Tree, old: &Tree, entry: &Entry) -> Result<bool, ApiError> {
    let name = meta::name(new);
    if !name.is_empty() && name != call.key.name {
        let why = format!("the name of the object ({name}) does not match the name on the URL ({})", call.key.name);
        return Err(ApiError::bad_request(why));
    }
    let (wanted, present) = (meta::uid(new), meta::uid(old));
    if !wanted.is_empty() && wanted != present {
        let why = format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {present}");
        return Err(ApiError::conflict(call.resource(), &call.key.name, why));
    }
    let version = match &new["metadata"]["resourceVersion"] {
        Tree::Null => return Ok(false),
        Tree::String(text) if text.is_empty() || text == "0" => return Ok(false),
        Tree::String(text) => text,
        _ => return Err(ApiError::bad_request("metadata.resourceVersion must be a string")),
    };
    match version.parse::<u64>() {
        Ok(revision) if revision == entry.modified.0 => Ok(true),
        Ok(_) => Err(ApiError::modified(call.resource(), &call.key.name)),
        Err(_) => {
            let why = coracle_proto::field::FieldError::invalid(
                "metadata.resourceVersion",
                version.as_str(),
                "must be an unsigned integer",
            );
            let resource = call.resource();
            Err(ApiError::invalid(&resource.group, &resource.kind, &call.key.name, &[why]))
        }
    }
}

/// What a client may leave out, and what it cannot say.
fn keep_system_fields(new: &mut Tree, old: &Tree) {
    let before = &old["metadata"];
    let fields = meta::metadata_mut(new);
    fields.remove("selfLink");
    fields.remove("managedFields");
    for field in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        if fields.get(field).is_none_or(Tree::is_null) {
            fields.remove(field);
            if let Some(value) = before.get(field) {
                fields.insert(field.into(), value.clone());
            }
        }
    }
    match before.get("generation") {
        Some(generation) => fields.insert("generation".into(), generation.clone()),
        None => fields.remove("generation"),
    };
    if !fields.contains_key("generateName")
        && let Some(prefix) = before.get("generateName")
    {
        fields.insert("generateName".into(), prefix.clone());
    }
}

/// Whether anything but metadata and status differs.
fn spec_changed(new: &Tree, old: &Tree) -> bool {
    let parts = |tree: &Tree| {
        let mut map = tree.as_object().cloned().unwrap_or_default();
        map.retain(|key, _| key != "metadata" && key != "status");
        map
    };
    parts(new) != parts(old)
}

/// An object being deleted goes once nothing holds it: no finalizer, no grace period.
fn is_finished(object: &Tree) -> bool {
    meta::is_deleting(object)
        && meta::finalizers(object).next().is_none()
        && object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && (object["kind"] != "Namespace" || object["spec"]["finalizers"].as_array().is_none_or(Vec::is_empty))
}
