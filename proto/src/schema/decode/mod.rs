//! Reading one object from JSON or YAML by its schema: unknown and doubled fields, wrong types, canonical form.
//!
//! Canonical is what Go would write after reading: nulls and the zeros of `omitempty` fields are absent, quantities and
//! times have their normal form. Messages are those of upstream's `sigs.k8s.io/json` and API server.

mod report;
mod scalar;
mod skip;
mod walk;

use super::Type;
use crate::status::ApiError;
use report::Report;
use serde::de::{DeserializeSeed, Deserializer};
use serde_json::Value;
use walk::ObjectSeed;

pub(super) use scalar::quantity_text;

/// Values may nest this deep. serde's own limit for JSON and YAML is the same.
pub const MAX_DEPTH: usize = 128;
/// Beside its own length, a document may grow by this much through YAML aliases. Values and bytes of text count.
const MAX_ALIAS_GROWTH: usize = 1 << 20;
/// The YAML parser takes time by the square of the nesting before it can refuse it, so brackets are counted beforehand,
/// in quoted text too.
const MAX_YAML_BRACKETS: usize = 1000;
/// As upstream.
const MAX_STRICT_ERRORS: usize = 100;

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
    /// In canonical form.
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
    /// The 400 that upstream answers. `kind` and `api_version` (with or without its group) are the data's, `expected` is the
    /// kind the path serves.
    pub fn to_api_error(&self, kind: &str, api_version: &str, expected: &str) -> ApiError {
        let version = api_version.rsplit('/').next().unwrap_or_default();
        ApiError::bad_request(match self {
            Self::Syntax(_) => format!("the object provided is unrecognized (must be of type {expected}): {self}"),
            _ => format!("{kind} in version {version:?} cannot be handled as a {expected}: {self}"),
        })
    }
}

pub fn json(bytes: &[u8], ty: &Type, validation: FieldValidation) -> Result<Decoded, DecodeError> {
    let mut source = serde_json::Deserializer::from_slice(bytes);
    let mut report = Report::new(validation, bytes.len());
    let tree = read(&mut source, ty, &mut report)?;
    source.end().map_err(|e| DecodeError::Syntax(e.to_string()))?;
    finish(tree, report)
}

/// A single document.
pub fn yaml(bytes: &[u8], ty: &Type, validation: FieldValidation) -> Result<Decoded, DecodeError> {
    if open_brackets(bytes) > MAX_YAML_BRACKETS {
        return Err(DecodeError::Syntax("exceeded max depth".into()));
    }
    let mut report = Report::new(validation, bytes.len().saturating_add(MAX_ALIAS_GROWTH));
    let tree = read(serde_norway::Deserializer::from_slice(bytes), ty, &mut report)?;
    finish(tree, report)
}

/// The same checks and the same canonical form for a tree already in memory, such as the result of a patch.
pub fn tree(tree: Value, ty: &Type, validation: FieldValidation) -> Result<Decoded, DecodeError> {
    let mut report = Report::new(validation, usize::MAX);
    let tree = read(tree, ty, &mut report)?;
    finish(tree, report)
}

/// The most brackets that are open at once.
fn open_brackets(bytes: &[u8]) -> usize {
    let (mut open, mut most) = (0usize, 0);
    for byte in bytes {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => continue,
        }
        most = most.max(open);
    }
    most
}

fn read<'de, 't, D: Deserializer<'de>>(source: D, ty: &'t Type, report: &mut Report<'t>) -> Result<Value, DecodeError> {
    ObjectSeed { ty, report }.deserialize(source).map_err(|e| DecodeError::Syntax(e.to_string()))
}

fn finish(tree: Value, report: Report<'_>) -> Result<Decoded, DecodeError> {
    if let Some(error) = report.type_error {
        return Err(DecodeError::Type(error));
    }
    match report.validation {
        FieldValidation::Strict if !report.strict.is_empty() => Err(DecodeError::Strict(report.strict)),
        _ => Ok(Decoded { tree, warnings: report.strict }),
    }
}

#[cfg(test)]
mod tests;
