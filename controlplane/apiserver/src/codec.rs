//! Bodies to trees and back, by each type's schema.

use coracle_proto::schema::decode::{self, DecodeError, Decoded, FieldValidation};
use coracle_proto::schema::{self, Type, defaults, patch};
use coracle_proto::{ApiError, Resource, Tree};

/// The schema of a kind. Every kind of the catalog has one, as a test enforces.
pub fn schema(resource: &Resource) -> Result<&'static Type, ApiError> {
    schema_of(&resource.group, &resource.version, &resource.kind)
}

pub fn schema_of(group: &str, version: &str, kind: &str) -> Result<&'static Type, ApiError> {
    schema::of_kind(group, version, kind)
        .ok_or_else(|| ApiError::internal(format_args!("no schema for {group}/{version} {kind}")))
}

/// A tree as the kind has it: types checked, what Go would omit left out.
pub fn check(resource: &Resource, tree: Tree, validation: FieldValidation) -> Result<Decoded, ApiError> {
    let ty = schema(resource)?;
    let kind = tree["kind"].as_str().unwrap_or(&resource.kind).to_owned();
    decode::tree(tree, ty, validation).map_err(|error| decode_error(&error, &kind, resource))
}

pub fn decode_error(error: &DecodeError, kind: &str, resource: &Resource) -> ApiError {
    error.to_api_error(kind, &resource.version, &resource.kind)
}

/// The schema's fixed defaults.
pub fn set_defaults(resource: &Resource, tree: &mut Tree) -> Result<(), ApiError> {
    defaults::apply(schema(resource)?, tree);
    Ok(())
}

pub fn strategic_merge(resource: &Resource, original: &Tree, changes: &Tree) -> Result<Tree, ApiError> {
    if !changes.is_object() {
        return Err(ApiError::bad_request("error decoding patch: a strategic merge patch must be a JSON object"));
    }
    patch::strategic(original, changes, schema(resource)?).map_err(|error| ApiError::bad_request(error.to_string()))
}
