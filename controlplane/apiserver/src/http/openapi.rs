//! `/openapi/v2` and `/openapi/v3`.

use super::discovery::not_found;
use super::respond::{self, Body};
use coracle_proto::ApiError;
use http::{HeaderMap, Response, StatusCode};

pub fn respond(_headers: &HeaderMap, _path: &str) -> Result<Response<Body>, ApiError> {
    let _ = respond::json(StatusCode::OK, &serde_json::Value::Null);
    Err(not_found())
}
