//! Reading one object from JSON or YAML by its schema: unknown and doubled fields, wrong types, canonical form.

use super::Type;
use crate::status::ApiError;
use serde_json::Value;

/// The query parameter `fieldValidation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// In canonical form: what Go would omit is absent.
    pub tree: Value,
    /// For `Warning` headers, e.g. `unknown field "spec.foo"`.
    pub warnings: Vec<String>,
}

/// `Display` is upstream's text after `… cannot be handled as a …: `.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DecodeError {
    #[error("couldn't get version/kind; json parse error: {0}")]
    Syntax(String),
    /// One value is of the wrong type.
    #[error("{0}")]
    Type(String),
    #[error("strict decoding error: {}", .0.join(", "))]
    Strict(Vec<String>),
    #[error("{0}")]
    Protobuf(String),
}

impl DecodeError {
    /// The 400 that upstream answers. `kind` and `version` are the data's, `expected` is the kind the path serves.
    pub fn to_api_error(&self, kind: &str, version: &str, expected: &str) -> ApiError {
        ApiError::bad_request(match self {
            Self::Syntax(_) => format!("the object provided is unrecognized (must be of type {expected}): {self}"),
            _ => format!("{kind} in version {version:?} cannot be handled as a {expected}: {self}"),
        })
    }
}

pub fn json(_bytes: &[u8], _ty: &Type, _validation: FieldValidation) -> Result<Decoded, DecodeError> {
    Err(DecodeError::Syntax("not built yet".into()))
}

/// A single document.
pub fn yaml(_bytes: &[u8], _ty: &Type, _validation: FieldValidation) -> Result<Decoded, DecodeError> {
    Err(DecodeError::Syntax("not built yet".into()))
}

/// The same checks and the same canonical form for a tree already in memory: the result of a patch.
pub fn tree(_tree: Value, _ty: &Type, _validation: FieldValidation) -> Result<Decoded, DecodeError> {
    Err(DecodeError::Syntax("not built yet".into()))
}
