//! API errors, as every part of Coracle exchanges them and as `metav1.Status` shows them to clients.
//!
//! Messages follow apimachinery's `api/errors`: clients and people match on them.

use crate::field::{FieldError, join};
use crate::resource::Resource;
use serde_json::{Value, json};
use std::fmt;

/// `status.reason`, each with its HTTP code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    AlreadyExists,
    Conflict,
    Gone,
    Expired,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    Invalid,
    TooManyRequests,
    InternalError,
    ServiceUnavailable,
    Timeout,
}

impl Reason {
    pub const fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Gone | Self::Expired => 410,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::InternalError => 500,
            Self::ServiceUnavailable => 503,
            Self::Timeout => 504,
        }
    }

    const ALL: [Self; 17] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::AlreadyExists,
        Self::Conflict,
        Self::Gone,
        Self::Expired,
        Self::RequestEntityTooLarge,
        Self::UnsupportedMediaType,
        Self::Invalid,
        Self::TooManyRequests,
        Self::InternalError,
        Self::ServiceUnavailable,
        Self::Timeout,
    ];
}

/// A failed API request. `Display` is the message a user sees.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    pub reason: Reason,
    pub message: String,
    /// What the error is about; boxed because errors travel in every `Result`.
    pub details: Option<Box<Details>>,
}

/// `status.details`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    pub name: String,
    pub group: String,
    /// The plural resource, or the kind for `Invalid`.
    pub kind: String,
    pub uid: String,
    pub causes: Vec<Cause>,
    pub retry_after_seconds: u32,
}

/// `status.details.causes[]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    pub reason: String,
    pub message: String,
    pub field: String,
}

impl ApiError {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), details: None }
    }

    fn about(reason: Reason, resource: &Resource, name: &str, message: impl fmt::Display) -> Self {
        Self {
            reason,
            message: message.to_string(),
            details: Some(Box::new(Details {
                name: name.into(),
                group: resource.group.to_string(),
                kind: resource.plural.to_string(),
                ..Details::default()
            })),
        }
    }

    pub fn not_found(resource: &Resource, name: &str) -> Self {
        Self::about(Reason::NotFound, resource, name, format_args!("{} {name:?} not found", resource.qualified()))
    }

    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let text = format_args!("{} {name:?} already exists", resource.qualified()).to_string();
        Self::about(Reason::AlreadyExists, resource, name, text)
    }

    /// A precondition that no longer holds; `why` is upstream's sentence after the colon.
    pub fn conflict(resource: &Resource, name: &str, why: impl fmt::Display) -> Self {
        let text = format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource.qualified());
        Self::about(Reason::Conflict, resource, name, text)
    }

    /// The optimistic-concurrency conflict.
    pub fn modified(resource: &Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    pub fn forbidden(resource: &Resource, name: &str, why: impl fmt::Display) -> Self {
        let text = if name.is_empty() {
            format!("{} is forbidden: {why}", resource.qualified())
        } else {
            format!("{} {name:?} is forbidden: {why}", resource.qualified())
        };
        Self::about(Reason::Forbidden, resource, name, text)
    }

    /// Validation failed: one error per field, all of them in the message and in `details.causes`.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        Self {
            reason: Reason::Invalid,
            message: format!("{qualified} {name:?} is invalid: {}", join(errors)),
            details: Some(Box::new(Details {
                name: name.into(),
                group: group.into(),
                kind: kind.into(),
                causes: errors.iter().map(FieldError::cause).collect(),
                ..Details::default()
            })),
        }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(Reason::InternalError, format!("Internal error occurred: {message}"))
    }

    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(Reason::Expired, message)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Reason::ServiceUnavailable, message)
    }

    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(Reason::Timeout, message)
    }

    pub fn code(&self) -> u16 {
        self.reason.code()
    }

    pub fn is_not_found(&self) -> bool {
        self.reason == Reason::NotFound
    }

    pub fn is_conflict(&self) -> bool {
        self.reason == Reason::Conflict
    }

    pub fn is_already_exists(&self) -> bool {
        self.reason == Reason::AlreadyExists
    }

    /// The `metav1.Status` object.
    pub fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": format!("{:?}", self.reason), "code": self.code(),
        });
        if let Some(details) = &self.details {
            status["details"] = details.to_tree();
        }
        status
    }

    /// Reads a `metav1.Status` back; `None` if `tree` is not one or its reason is unknown.
    pub fn from_status(tree: &Value) -> Option<Self> {
        let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let reason = Reason::ALL.into_iter().find(|r| tree["reason"] == format!("{r:?}"))?;
        let details = tree.get("details").map(|d| {
            let causes = d["causes"].as_array().into_iter().flatten();
            Box::new(Details {
                name: text(d, "name"),
                group: text(d, "group"),
                kind: text(d, "kind"),
                uid: text(d, "uid"),
                causes: causes
                    .map(|c| Cause { reason: text(c, "reason"), message: text(c, "message"), field: text(c, "field") })
                    .collect(),
                retry_after_seconds: d["retryAfterSeconds"].as_u64().unwrap_or(0) as u32,
            })
        });
        Some(Self { reason, message: text(tree, "message"), details })
    }
}

impl Details {
    fn to_tree(&self) -> Value {
        let mut tree = serde_json::Map::new();
        for (key, value) in [("name", &self.name), ("group", &self.group), ("kind", &self.kind), ("uid", &self.uid)] {
            if !value.is_empty() {
                tree.insert(key.into(), value.as_str().into());
            }
        }
        if !self.causes.is_empty() {
            let cause = |c: &Cause| json!({"reason": c.reason, "message": c.message, "field": c.field});
            tree.insert("causes".into(), self.causes.iter().map(cause).collect());
        }
        if self.retry_after_seconds > 0 {
            tree.insert("retryAfterSeconds".into(), self.retry_after_seconds.into());
        }
        Value::Object(tree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{DEPLOYMENTS, PODS};

    #[test]
    fn messages_are_upstreams() {
        assert_eq!(ApiError::not_found(&PODS, "a").message, r#"pods "a" not found"#);
        assert_eq!(ApiError::already_exists(&DEPLOYMENTS, "a").message, r#"deployments.apps "a" already exists"#);
        let error = ApiError::invalid("apps", "Deployment", "a", &[FieldError::required("spec.selector", "")]);
        assert_eq!(error.message, r#"Deployment.apps "a" is invalid: spec.selector: Required value"#);
        let error = ApiError::invalid("", "Pod", "a", &[FieldError::required("spec.containers", "")]);
        assert_eq!(error.message, r#"Pod "a" is invalid: spec.containers: Required value"#);
    }

    #[test]
    fn a_status_survives_the_round_trip() {
        let error = ApiError::invalid("apps", "Deployment", "a", &[FieldError::required("spec.selector", "x")]);
        assert_eq!(ApiError::from_status(&error.to_status()), Some(error));
    }
}
