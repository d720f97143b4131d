//! Strategic merge patch.

use super::Type;
use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    #[error("{0}")]
    Invalid(String),
}

pub fn strategic(_original: &Value, _patch: &Value, _ty: &Type) -> Result<Value, PatchError> {
    Err(PatchError::Invalid("not built yet".into()))
}
