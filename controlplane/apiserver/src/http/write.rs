//! POST, PUT, PATCH, DELETE. Who may not write is told so before the body is read: it could be slow and hold a place.
//! The registry decides again on what it knows then.

use super::body::{self, Expected};
use super::dispatch::Asked;
use super::negotiate::{As, Format};
use super::read;
use super::respond::{self, Body};
use super::table::Include;
use crate::catalog::Review;
use crate::registry::{Call, Deleted};
use coracle_proto::schema::decode::FieldValidation;
use coracle_proto::status::Reason;
use coracle_proto::{ApiError, Object, Tree, meta};
use http::{Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

/// What the body of a write to this subresource holds.
fn expected<'a>(call: &'a Call<'_>) -> Result<Expected<'a>, ApiError> {
    let found = call.kind.facts().subresources.iter().find(|s| s.name == call.subresource);
    match found {
        Some(sub) if !sub.kind.is_empty() && !sub.group.is_empty() => Expected::of(sub.group, sub.version, sub.kind),
        Some(sub) if !sub.kind.is_empty() => Expected::of("", "v1", sub.kind),
        _ => Expected::object(call.kind),
    }
}

pub async fn create(asked: &Asked, call: Call<'_>, incoming: Incoming) -> Result<Response<Body>, ApiError> {
    let call = &call;
    asked.registry.authorise(call, "create")?;
    let bytes = body::read(&asked.headers, incoming).await?;
    let decoded = body::decode(&asked.headers, &bytes, &expected(call)?, asked.query.validation()?)?;
    let object = asked.registry.create(call, decoded.tree).await?;
    let mut response = answer(asked, call, StatusCode::CREATED, &object)?;
    respond::warn(&mut response, &decoded.warnings);
    Ok(response)
}

pub async fn update(asked: &Asked, call: &Call<'_>, incoming: Incoming) -> Result<Response<Body>, ApiError> {
    asked.registry.authorise(call, "update")?;
    let bytes = body::read(&asked.headers, incoming).await?;
    let decoded = body::decode(&asked.headers, &bytes, &expected(call)?, asked.query.validation()?)?;
    let outcome = asked.registry.update(call, decoded.tree).await?;
    let status = if outcome.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = answer(asked, call, status, &outcome.object)?;
    respond::warn(&mut response, &decoded.warnings);
    Ok(response)
}

pub async fn patch(asked: &Asked, call: &Call<'_>, incoming: Incoming) -> Result<Response<Body>, ApiError> {
    asked.registry.authorise(call, "patch")?;
    let bytes = body::read(&asked.headers, incoming).await?;
    let patch = body::patch(&asked.headers, &bytes)?;
    let (object, warnings) = asked.registry.patch_checked(call, &patch, asked.query.validation()?).await?;
    let mut response = answer(asked, call, StatusCode::OK, &object)?;
    respond::warn(&mut response, &warnings);
    Ok(response)
}

/// The object a write returned; of other kinds than the path's only as it is.
fn answer(asked: &Asked, call: &Call<'_>, status: StatusCode, object: &Object) -> Result<Response<Body>, ApiError> {
    if matches!(call.subresource, "" | "status" | "finalize") {
        return respond::object(status, call.kind, object, asked.format, Include::from_query(&asked.query)?);
    }
    plain(asked, status, object)
}

fn plain(asked: &Asked, status: StatusCode, object: &Object) -> Result<Response<Body>, ApiError> {
    respond::tree(status, &object.tree()?, Format { as_: As::Object, ..asked.format })
}

pub async fn review(asked: &Asked, review: &'static Review, incoming: Incoming) -> Result<Response<Body>, ApiError> {
    if asked.method != http::Method::POST {
        return Err(super::dispatch::method_not_allowed());
    }
    asked.registry.authorise_review(&asked.user, review)?;
    let resource = &review.resource;
    let bytes = body::read(&asked.headers, incoming).await?;
    let expected = Expected::of(&resource.group, &resource.version, &resource.kind)?;
    let decoded = body::decode(&asked.headers, &bytes, &expected, FieldValidation::Ignore)?;
    let object = asked.registry.review(&asked.user, review, &decoded.tree)?;
    plain(asked, StatusCode::CREATED, &object)
}

pub async fn delete(asked: &Asked, call: &Call<'_>, incoming: Incoming) -> Result<Response<Body>, ApiError> {
    asked.registry.authorise(call, "delete")?;
    let bytes = body::read(&asked.headers, incoming).await?;
    let options = body::delete_options(&asked.headers, &bytes, &asked.query)?;
    let Deleted { object, gone } = asked.registry.delete(call, &options).await?;
    if !gone || call.kind.facts().returns_deleted {
        return respond::object(StatusCode::OK, call.kind, &object, asked.format, Include::from_query(&asked.query)?);
    }
    respond::tree(StatusCode::OK, &success(call, &object.tree()?), Format { as_: As::Object, ..asked.format })
}

fn success(call: &Call<'_>, object: &Tree) -> Tree {
    let resource = call.resource();
    let mut details = json!({"name": meta::name(object), "kind": resource.plural, "uid": meta::uid(object)});
    if !resource.group.is_empty() {
        details["group"] = resource.group.as_ref().into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

pub async fn delete_collection(asked: &Asked, call: &Call<'_>, incoming: Incoming) -> Result<Response<Body>, ApiError> {
    if call.resource().namespaced && call.key.namespace.is_empty() {
        // Upstream has no path for all namespaces at once.
        return Err(ApiError::new(Reason::MethodNotAllowed, super::dispatch::method_not_allowed().message));
    }
    asked.registry.authorise(call, "deletecollection")?;
    let bytes = body::read(&asked.headers, incoming).await?;
    let options = body::delete_options(&asked.headers, &bytes, &asked.query)?;
    let list = read::selection(&asked.query)?;
    let found = asked.registry.delete_collection(call, &list, &options).await?;
    respond::list(call.kind, &found, asked.format, Include::from_query(&asked.query)?)
}
