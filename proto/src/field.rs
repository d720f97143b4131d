//! Validation errors that name a field, in the words of apimachinery's `util/validation/field`.

use crate::status::Cause;
use serde_json::Value;
use std::fmt;

/// One field that is wrong, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    pub kind: Kind,
    /// e.g. `spec.containers[0].image`.
    pub path: String,
    pub value: Value,
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Required,
    Invalid,
    NotSupported,
    Duplicate,
    Forbidden,
    TooLong,
    TooMany,
    NotFound,
    TypeInvalid,
}

impl Kind {
    const fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::Required => ("FieldValueRequired", "Required value"),
            Self::Invalid => ("FieldValueInvalid", "Invalid value"),
            Self::NotSupported => ("FieldValueNotSupported", "Unsupported value"),
            Self::Duplicate => ("FieldValueDuplicate", "Duplicate value"),
            Self::Forbidden => ("FieldValueForbidden", "Forbidden"),
            Self::TooLong => ("FieldValueTooLong", "Too long"),
            Self::TooMany => ("FieldValueTooMany", "Too many"),
            Self::NotFound => ("FieldValueNotFound", "Not found"),
            Self::TypeInvalid => ("FieldValueTypeInvalid", "Invalid value"),
        }
    }
}

impl FieldError {
    fn new(kind: Kind, path: impl Into<String>, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self { kind, path: path.into(), value: value.into(), detail: detail.into() }
    }

    pub fn required(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(Kind::Required, path, Value::Null, detail)
    }

    pub fn invalid(path: impl Into<String>, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, path, value, detail)
    }

    /// `supported` in the order the message should list them (upstream sorts).
    pub fn not_supported(path: impl Into<String>, value: impl Into<Value>, supported: &[&str]) -> Self {
        let list: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        let detail = if list.is_empty() { String::new() } else { format!("supported values: {}", list.join(", ")) };
        Self::new(Kind::NotSupported, path, value, detail)
    }

    pub fn duplicate(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(Kind::Duplicate, path, value, "")
    }

    pub fn forbidden(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(Kind::Forbidden, path, Value::Null, detail)
    }

    /// `max` in bytes.
    pub fn too_long(path: impl Into<String>, max: usize) -> Self {
        Self::new(Kind::TooLong, path, Value::Null, format!("may not be more than {max} bytes"))
    }

    pub fn too_many(path: impl Into<String>, actual: usize, max: usize) -> Self {
        let unit = if max == 1 { "item" } else { "items" };
        Self::new(Kind::TooMany, path, actual as u64, format!("must have at most {max} {unit}"))
    }

    pub fn not_found(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(Kind::NotFound, path, value, "")
    }

    /// The message without the path, as `details.causes[].message` has it.
    pub fn body(&self) -> String {
        let (_, text) = self.kind.text();
        let mut body = text.to_owned();
        if !matches!(self.kind, Kind::Required | Kind::Forbidden | Kind::TooLong) {
            body.push_str(": ");
            body.push_str(&self.value.to_string());
        }
        if !self.detail.is_empty() {
            body.push_str(": ");
            body.push_str(&self.detail);
        }
        body
    }

    pub fn cause(&self) -> Cause {
        Cause { reason: self.kind.text().0.into(), message: self.body(), field: self.path.clone() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}

/// Upstream's aggregate: one error as it is, several in brackets, doubles once.
pub fn join(errors: &[FieldError]) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in errors.iter().map(ToString::to_string) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}
