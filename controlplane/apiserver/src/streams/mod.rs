//! Logs, exec, attach and port-forward: streams between a client and a pod's node.

use crate::http::Asked;
use crate::http::Body;
use crate::registry::Call;
use coracle_proto::ApiError;
use coracle_proto::status::Reason;
use http::{Request, Response};
use hyper::body::Incoming;

pub async fn respond(
    _asked: &Asked,
    call: &Call<'_>,
    _request: Request<Incoming>,
    _place: tokio::sync::OwnedSemaphorePermit,
) -> Result<Response<Body>, ApiError> {
    Err(ApiError::new(Reason::NotFound, format!("pods/{} is not served", call.subresource)))
}
