//! Reading request bodies: bounded in size, depth and time, then by their content type.

use super::query::{Query, propagation};
use crate::codec;
use crate::limits::{BODY_TIMEOUT, MAX_BODY};
use crate::resources::ResourceType;
use bytes::Bytes;
use coracle_client::{DeleteOptions, Patch};
use coracle_proto::schema::decode::{self, Decoded, FieldValidation};
use coracle_proto::schema::{Type, protobuf};
use coracle_proto::status::Reason;
use coracle_proto::{ApiError, Tree};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

fn too_large() -> ApiError {
    ApiError::new(Reason::RequestEntityTooLarge, format!("Request entity too large: limit is {MAX_BODY}"))
}

/// The whole body, or why not.
pub async fn read(headers: &HeaderMap, body: Incoming) -> Result<Bytes, ApiError> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
    if announced.is_some_and(|length| length > MAX_BODY) {
        return Err(too_large());
    }
    let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => Err(too_large()),
        Ok(Err(error)) => Err(ApiError::bad_request(format!("the request body could not be read: {error}"))),
        Err(_) => Err(ApiError::timeout("the request body did not arrive in time")),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    Json,
    Yaml,
    Protobuf,
}

/// The media type without its parameters.
pub fn content_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn media(headers: &HeaderMap) -> Result<Media, ApiError> {
    match content_type(headers).as_str() {
        "" | "application/json" | "*/*" => Ok(Media::Json),
        "application/yaml" => Ok(Media::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(Media::Protobuf),
        _ => {
            let why = "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf";
            Err(ApiError::new(Reason::UnsupportedMediaType, why))
        }
    }
}

/// What a body should hold.
pub struct Expected<'a> {
    pub ty: &'static Type,
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
}

impl<'a> Expected<'a> {
    pub fn object(kind: &'a dyn ResourceType) -> Result<Self, ApiError> {
        let resource = &kind.facts().resource;
        Self::of(&resource.group, &resource.version, &resource.kind)
    }

    pub fn of(group: &'a str, version: &'a str, kind: &'a str) -> Result<Self, ApiError> {
        Ok(Self { ty: codec::schema_of(group, version, kind)?, group, version, kind })
    }

    fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.into() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// An object of the expected kind.
pub fn decode(
    headers: &HeaderMap,
    bytes: &[u8],
    expected: &Expected<'_>,
    validation: FieldValidation,
) -> Result<Decoded, ApiError> {
    let decoded = match media(headers)? {
        Media::Json => decode::json(bytes, expected.ty, validation),
        Media::Yaml => decode::yaml(bytes, expected.ty, validation),
        Media::Protobuf => protobuf::decode(bytes, Some(expected.ty))
            .map(|envelope| Decoded { tree: envelope.tree, warnings: Vec::new() }),
    };
    let mut decoded =
        decoded.map_err(|error| error.to_api_error(expected.kind, &expected.api_version(), expected.kind))?;
    check_kind(&mut decoded.tree, expected)?;
    Ok(decoded)
}

/// The body may leave out what the path says, not contradict it.
fn check_kind(tree: &mut Tree, expected: &Expected<'_>) -> Result<(), ApiError> {
    let (wanted, kind) = (expected.api_version(), expected.kind);
    let found = |field: &str| tree[field].as_str().unwrap_or_default();
    let (api_version, found_kind) = (found("apiVersion"), found("kind"));
    if !found_kind.is_empty() && found_kind != kind {
        let why = format!(
            "{found_kind} in version {:?} cannot be handled as a {kind}: converting ({found_kind}) to ({kind}): unknown conversion",
            api_version.rsplit('/').next().unwrap_or_default()
        );
        return Err(ApiError::bad_request(why));
    }
    if !api_version.is_empty() && api_version != wanted {
        let why =
            format!("the API version in the data ({api_version}) does not match the expected API version ({wanted})");
        return Err(ApiError::bad_request(why));
    }
    if !tree.is_object() {
        return Err(ApiError::bad_request(format!("the object provided is unrecognized (must be of type {kind})")));
    }
    tree["apiVersion"] = wanted.into();
    tree["kind"] = kind.into();
    Ok(())
}

/// A patch, by its content type.
pub fn patch(headers: &HeaderMap, bytes: &[u8]) -> Result<Patch, ApiError> {
    let make: fn(Tree) -> Patch = match content_type(headers).as_str() {
        "application/json-patch+json" => Patch::Json,
        "application/merge-patch+json" => Patch::Merge,
        "application/strategic-merge-patch+json" => Patch::Strategic,
        _ => {
            let why = "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json";
            return Err(ApiError::new(Reason::UnsupportedMediaType, why));
        }
    };
    // kubectl edit sends YAML that is JSON; so does upstream read it.
    let tree =
        serde_json::from_slice(bytes).map_err(|e| ApiError::bad_request(format!("error decoding patch: {e}")))?;
    Ok(make(tree))
}

/// `DeleteOptions` from the body where there is one, else from the query.
pub fn delete_options(headers: &HeaderMap, bytes: &[u8], query: &Query) -> Result<DeleteOptions, ApiError> {
    let mut options = query.delete_options()?;
    if bytes.is_empty() {
        return Ok(options);
    }
    let ty = codec::schema_of("", "v1", "DeleteOptions")?;
    // The kind may be of any group: every group registers it.
    let decoded = match media(headers)? {
        Media::Json => decode::json(bytes, ty, FieldValidation::Ignore),
        Media::Yaml => decode::yaml(bytes, ty, FieldValidation::Ignore),
        Media::Protobuf => {
            protobuf::decode(bytes, Some(ty)).map(|envelope| Decoded { tree: envelope.tree, warnings: Vec::new() })
        }
    };
    let tree = decoded.map_err(|e| e.to_api_error("DeleteOptions", "v1", "DeleteOptions"))?.tree;
    let kind = tree["kind"].as_str().unwrap_or("DeleteOptions");
    if kind != "DeleteOptions" {
        let why = format!(
            "{kind} in version {:?} cannot be handled as a DeleteOptions",
            tree["apiVersion"].as_str().unwrap_or_default()
        );
        return Err(ApiError::bad_request(why));
    }
    let text = |tree: &Tree, key: &str| tree[key].as_str().map(str::to_owned);
    if let Some(seconds) = tree["gracePeriodSeconds"].as_i64() {
        options.grace_period_seconds = Some(seconds);
    }
    let policy = tree["propagationPolicy"].as_str().unwrap_or_default();
    if let Some(found) = propagation(policy, tree["orphanDependents"].as_bool())? {
        options.propagation = Some(found);
    }
    options.uid = text(&tree["preconditions"], "uid");
    options.resource_version = text(&tree["preconditions"], "resourceVersion");
    let dry: Vec<&str> = tree["dryRun"].as_array().into_iter().flatten().filter_map(Tree::as_str).collect();
    if dry.iter().any(|d| *d != "All") {
        let why = coracle_proto::field::FieldError::not_supported("dryRun", dry, &["All"]);
        return Err(ApiError::invalid("meta.k8s.io", "DeleteOptions", "", &[why]));
    }
    options.dry_run |= !dry.is_empty();
    Ok(options)
}
