//! Creating an object.

use super::commit::{self, Committing};
use super::{Call, Registry, get, keys};
use crate::limits::{MAX_CONFLICT_RETRIES, MAX_NAME_RETRIES};
use crate::{suffix, validate};
use coracle_proto::api::ReadAt;
use coracle_proto::status::Reason;
use coracle_proto::{ApiError, Object, Tree, meta, time};
use coracle_store::{Expect, Op, View};
use jiff::Timestamp;

/// The longest generated name; a longer prefix is cut.
const MAX_NAME: usize = 63;

impl Registry {
    /// Creates the object, or does what the subresource named in the call is for.
    pub async fn create(&self, call: &Call<'_>, object: Tree) -> Result<Object, ApiError> {
        self.authorise(call, "create")?;
        match call.subresource {
            "" => {}
            "binding" if call.subresource_exists("create") => return self.bind(call, &object).await,
            "eviction" if call.subresource_exists("create") => return self.evict(call, &object).await,
            "token" if call.subresource_exists("create") => return self.issue_token(call, &object).await,
            _ => return Err(call.not_found()),
        }
        self.create_authorised(call, object).await
    }

    /// As [`Self::create`] for an object, its caller having been authorised.
    pub(super) async fn create_authorised(&self, call: &Call<'_>, mut object: Tree) -> Result<Object, ApiError> {
        accept_key(call, &mut object)?;
        call.kind.to_storage(&mut object);
        let prefix = object["metadata"]["generateName"].as_str().unwrap_or_default().to_owned();
        let generated = meta::name(&object).is_empty() && !prefix.is_empty();
        for attempt in 1.. {
            let mut candidate = object.clone();
            if generated {
                meta::metadata_mut(&mut candidate).insert("name".into(), generate_name(&prefix).into());
            }
            match self.create_named(call, candidate).await {
                Err(error) if generated && error.is_already_exists() && attempt < MAX_NAME_RETRIES => {}
                other => return other,
            }
        }
        unreachable!("the loop above returns")
    }

    async fn create_named(&self, call: &Call<'_>, object: Tree) -> Result<Object, ApiError> {
        for attempt in 0..MAX_CONFLICT_RETRIES {
            let view = if attempt == 0 { self.store.view() } else { self.view(ReadAt::Latest).await? };
            let mut new = object.clone();
            let ops = match self.plan_create(call, &mut new, &*view) {
                // The namespace or the account may only be new to this server.
                Err(error) if attempt == 0 && matches!(error.reason, Reason::NotFound | Reason::Forbidden) => continue,
                other => other?,
            };
            let key = ops[0].key.clone();
            if call.dry_run {
                if view.get(&key).is_some() {
                    return Err(ApiError::already_exists(call.resource(), meta::name(&new)));
                }
                call.kind.to_served(&mut new);
                return Ok(get::from_tree(&new, 0));
            }
            match self.commit(call, ops).await? {
                Committing::Done(committed) => return commit::first(call, committed),
                Committing::Conflict(conflicting) if conflicting == key => {
                    return Err(ApiError::already_exists(call.resource(), meta::name(&new)));
                }
                // The namespace changed, or an address was taken: look again.
                Committing::Conflict(_) => {}
            }
        }
        Err(ApiError::new(Reason::Conflict, "the namespace or an allocation kept changing; please try again"))
    }

    /// Defaults, admission, the server's own fields, validation: everything but the commit. The object's op is first.
    fn plan_create(&self, call: &Call<'_>, new: &mut Tree, view: &dyn View) -> Result<Vec<Op>, ApiError> {
        self.set_defaults(call.kind, new)?;
        self.admit_create(call, new, view)?;
        self.set_defaults(call.kind, new)?;
        call.kind.prepare_create(new);
        stamp_new(call, new);
        let mut errors = validate::Errors::new();
        validate::metadata(call.kind, new, &mut errors);
        call.kind.validate(new, &mut errors);
        let mut allocations = Vec::new();
        if errors.is_empty() {
            self.allocate(call.kind, new, None, view, &mut allocations, &mut errors);
        }
        if !errors.is_empty() {
            let resource = call.resource();
            return Err(ApiError::invalid(&resource.group, &resource.kind, meta::name(new), &errors));
        }
        let key = keys::object(call.kind, &meta::ObjectKey::of(new));
        let mut ops = vec![commit::put(key, Expect::Absent, new)];
        ops.extend(allocations);
        // Nothing may appear in a namespace once it is being emptied.
        if call.resource().namespaced
            && let Some(namespace) = view.get(&keys::namespace(meta::namespace(new)))
        {
            ops.push(commit::check(namespace.key, Expect::At(namespace.modified)));
        }
        Ok(ops)
    }
}

/// The namespace and kind are the path's; the body may repeat them but not differ.
pub(super) fn accept_key(call: &Call<'_>, object: &mut Tree) -> Result<(), ApiError> {
    if !object.is_object() {
        return Err(ApiError::bad_request("the object provided is not a JSON object"));
    }
    let resource = call.resource();
    let namespace = meta::namespace(object);
    if resource.namespaced {
        if !namespace.is_empty() && namespace != call.key.namespace {
            let why = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(ApiError::bad_request(why));
        }
        meta::metadata_mut(object).insert("namespace".into(), call.key.namespace.as_str().into());
    }
    if !call.key.name.is_empty() && meta::name(object).is_empty() {
        meta::metadata_mut(object).insert("name".into(), call.key.name.as_str().into());
    }
    object["apiVersion"] = resource.api_version().into();
    object["kind"] = resource.kind.as_ref().into();
    Ok(())
}

/// What only the server may say of a new object.
fn stamp_new(call: &Call<'_>, object: &mut Tree) {
    let generation = call.kind.facts().generation;
    let fields = meta::metadata_mut(object);
    for field in ["resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields"] {
        fields.remove(field);
    }
    fields.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
    fields.insert("creationTimestamp".into(), time::render(Timestamp::now()).into());
    if generation {
        fields.insert("generation".into(), 1.into());
    } else {
        fields.remove("generation");
    }
}

fn generate_name(prefix: &str) -> String {
    let mut end = prefix.len().min(MAX_NAME - suffix::LENGTH);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{}", &prefix[..end], suffix::random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_fit_a_label() {
        for prefix in ["a-", &"x".repeat(80), &"ü".repeat(40)] {
            let name = generate_name(prefix);
            assert!(name.len() <= MAX_NAME && name.len() > suffix::LENGTH, "{name}");
        }
    }
}
