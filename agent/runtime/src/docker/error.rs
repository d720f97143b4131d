//! Docker's errors as the trait's.

use crate::RuntimeError;
use bollard::errors::Error;

pub fn engine(error: Error) -> RuntimeError {
    RuntimeError::Engine(text(&error))
}

/// The same, but 404 means that this very thing is not there.
pub fn of(what: &'static str, id: &str) -> impl FnOnce(Error) -> RuntimeError {
    move |error| match status(&error) {
        Some(404) => RuntimeError::NotFound { what, id: id.to_owned() },
        _ => engine(error),
    }
}

/// A container or a command that could not be started.
pub fn start(error: Error) -> RuntimeError {
    RuntimeError::Start(super::state::without_noise(&text(&error)))
}

pub fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// What Docker said, without the wrapping.
pub fn text(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.clone(),
        Error::DockerStreamError { error } => error.clone(),
        other => other.to_string(),
    }
}
