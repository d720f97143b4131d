//! The one place where an error becomes a response.

use super::negotiate::{Format, JSON};
use super::respond::{self, Body};
use coracle_proto::ApiError;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};

/// A `metav1.Status` in the form the client accepts.
pub fn response(error: &ApiError, format: Format) -> Response<Body> {
    let status = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_server_error() {
        tracing::warn!(code = status.as_u16(), message = %error.message, "request failed");
    }
    let tree = error.to_status();
    let format = Format { media: format.media, ..JSON };
    // A Status has no field that could not be written; should it fail all the same, JSON always can.
    let mut response = respond::tree(status, &tree, format).unwrap_or_else(|_| respond::json(status, &tree));
    if let Some(seconds) = error.details.as_ref().map(|d| d.retry_after_seconds).filter(|s| *s > 0) {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
