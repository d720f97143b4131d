//! `pods/log`: what a container wrote, as plain text, followed as it grows.

use super::target;
use crate::http::{Asked, Body, BoxError, Query, full};
use crate::limits::FIRST_FRAME_WAIT;
use crate::node_streams::NodeStream;
use crate::registry::Call;
use crate::validate::{Errors, text};
use bytes::Bytes;
use coracle_proto::field::FieldError;
use coracle_proto::nodelink::stream_request::Kind;
use coracle_proto::nodelink::{Frame, LogRequest, StreamRequest, frame};
use coracle_proto::{ApiError, meta, time};
use futures::{StreamExt, stream};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::OwnedSemaphorePermit;

pub async fn respond(asked: &Asked, call: &Call<'_>, place: OwnedSemaphorePermit) -> Result<Response<Body>, ApiError> {
    let mut order = options(&asked.query)?;
    let pod = target::find_pod(asked, call).await?;
    order.container = target::container(&pod, &order.container)?;
    order.namespace = meta::namespace(&pod).into();
    order.pod = meta::name(&pod).into();
    order.uid = meta::uid(&pod).into();
    let node = text(&pod["spec"], "nodeName");
    // What has not been scheduled has written nothing.
    if node.is_empty() {
        return Ok(plain(full("")));
    }
    let streams = asked.registry.config().node_streams.clone();
    let mut node = streams.open(node, StreamRequest { kind: Some(Kind::Log(order)) }).await?;
    // A node that refuses says so at once: that is an HTTP error. Then the head goes out, whatever is to come.
    let first = match tokio::time::timeout(FIRST_FRAME_WAIT, node.rx.recv()).await {
        Ok(Some(Frame { kind: Some(frame::Kind::Error(status)) })) => return Err(refused(&status)),
        Ok(Some(frame)) => Some(frame),
        Ok(None) => return Ok(plain(full(""))),
        Err(_) => None,
    };
    Ok(plain(body(first, node, asked, place)))
}

fn plain(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// The node's error, as it said it.
fn refused(status: &[u8]) -> ApiError {
    let parsed = serde_json::from_slice(status).ok().and_then(|tree| ApiError::from_status(&tree));
    parsed.unwrap_or_else(|| ApiError::internal("the node refused without a readable reason"))
}

fn body(first: Option<Frame>, node: NodeStream, asked: &Asked, place: OwnedSemaphorePermit) -> Body {
    // Both halves live as long as the body; dropping them ends the stream on the node.
    let frames = stream::unfold((node, place), |(mut node, place)| async move {
        let frame = node.rx.recv().await?;
        Some((frame, (node, place)))
    });
    let stop = asked.stop.clone();
    let bytes = stream::iter(first)
        .chain(frames)
        .take_until(stop.cancelled_owned())
        .scan(false, |ended, frame| {
            let next = if *ended { None } else { Some(piece(frame, ended)) };
            futures::future::ready(next)
        })
        .filter_map(futures::future::ready);
    StreamBody::new(bytes.map(|b| b.map(http_body::Frame::data))).boxed_unsync()
}

/// One frame's part of the body.
fn piece(frame: Frame, ended: &mut bool) -> Option<Result<Bytes, BoxError>> {
    match frame.kind {
        Some(frame::Kind::Data(data)) => Some(Ok(data.bytes.into())),
        Some(frame::Kind::Exit(_) | frame::Kind::Close(_)) => {
            *ended = true;
            None
        }
        Some(frame::Kind::Error(status)) => {
            *ended = true;
            Some(Err(refused(&status).into()))
        }
        _ => None,
    }
}

/// `PodLogOptions` from the query.
fn options(query: &Query) -> Result<LogRequest, ApiError> {
    let mut errors = Errors::new();
    let mut bounded = |key: &str, least: i64, why: &str| {
        let value = query.number(key)?;
        if let Some(value) = value.filter(|v| *v < least) {
            errors.push(FieldError::invalid(key, value, why));
        }
        Ok::<_, ApiError>(value)
    };
    let tail_lines = bounded("tailLines", 0, "must be greater than or equal to 0")?;
    let limit_bytes = bounded("limitBytes", 1, "must be greater than 0")?;
    let since_seconds = bounded("sinceSeconds", 1, "must be greater than 0")?;
    let since_time = Some(query.get("sinceTime").to_owned()).filter(|t| !t.is_empty());
    if since_time.as_deref().is_some_and(|t| time::parse(t).is_none()) {
        let value = since_time.clone().unwrap_or_default();
        errors.push(FieldError::invalid("sinceTime", value, "must be a time in RFC 3339"));
    }
    if since_time.is_some() && since_seconds.is_some() {
        errors.push(FieldError::forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"));
    }
    if !errors.is_empty() {
        return Err(ApiError::invalid("", "PodLogOptions", "", &errors));
    }
    Ok(LogRequest {
        container: query.get("container").into(),
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        since_seconds,
        since_time,
        tail_lines,
        limit_bytes,
        ..LogRequest::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked() {
        let good = options(&Query::parse("tailLines=0&sinceSeconds=5&follow=true&container=c")).expect("good");
        assert_eq!((good.tail_lines, good.since_seconds, good.follow), (Some(0), Some(5), true));
        for bad in [
            "tailLines=-1",
            "limitBytes=0",
            "sinceSeconds=0",
            "sinceTime=x",
            "tailLines=x",
            "sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z",
        ] {
            assert!(options(&Query::parse(bad)).is_err(), "{bad}");
        }
    }
}
