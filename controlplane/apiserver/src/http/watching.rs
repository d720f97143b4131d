//! Watches over HTTP: events as a stream of JSON lines or protobuf frames.

use super::dispatch::Asked;
use super::negotiate::{As, Format, Media};
use super::read;
use super::respond::{Body, BoxError, proto};
use super::table::{self, Include};
use crate::limits::{BOOKMARK_INTERVAL, MAX_WATCH_TIMEOUT, WATCH_TIMEOUT};
use crate::registry::{Call, WatchFrom};
use crate::resources::ResourceType;
use bytes::Bytes;
use coracle_client::WatchStream;
use coracle_proto::api::ReadAt;
use coracle_proto::field::FieldError;
use coracle_proto::selector::FieldSelector;
use coracle_proto::status::Reason;
use coracle_proto::{ApiError, Object, WatchEvent};
use futures::{StreamExt, stream};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use rand::Rng;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub async fn watch(
    asked: &Asked,
    call: &Call<'_>,
    place: tokio::sync::OwnedSemaphorePermit,
) -> Result<Response<Body>, ApiError> {
    let mut options = read::selection(&asked.query)?;
    if !call.key.name.is_empty() {
        options.fields.0.extend(FieldSelector::one("metadata.name", &call.key.name).0);
    }
    let from = start(asked)?;
    let encoder = Encoder {
        kind: call.kind,
        format: asked.format,
        include: Include::from_query(&asked.query)?,
        bookmarks: asked.query.flag("allowWatchBookmarks"),
        marks_initial: wants_initial(asked),
        listing: matches!(from, WatchFrom::State(_)),
        headers: true,
        last: Instant::now(),
    };
    let events = match asked.registry.watch(call, &options, from).await {
        Ok(events) => events,
        // Clients look for this error in the stream.
        Err(error) if error.reason == Reason::Expired => stream::iter([Err(error)]).boxed(),
        Err(error) => return Err(error),
    };
    Ok(streamed(asked, events, encoder, place))
}

/// `sendInitialEvents=true`: the list as events, its end marked by a bookmark.
fn wants_initial(asked: &Asked) -> bool {
    asked.query.flag("sendInitialEvents")
}

fn start(asked: &Asked) -> Result<WatchFrom, ApiError> {
    let query = &asked.query;
    let revision = query.revision()?;
    let wrong = match (query.has("sendInitialEvents"), query.get("resourceVersionMatch")) {
        (true, "NotOlderThan") | (false, "") => None,
        (true, _) => Some("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"),
        (false, _) => Some("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"),
    };
    if let Some(why) = wrong {
        let error = FieldError::forbidden("resourceVersionMatch", why);
        return Err(ApiError::invalid("meta.k8s.io", "ListOptions", "", &[error]));
    }
    Ok(match (wants_initial(asked), revision) {
        (_, None) => WatchFrom::State(ReadAt::Latest),
        (_, Some(0)) => WatchFrom::State(ReadAt::Any),
        (true, Some(n)) => WatchFrom::State(ReadAt::NotOlderThan(n)),
        (false, Some(n)) => WatchFrom::After(n),
    })
}

/// How long this watch lasts: as asked, or a random while so that not all end at once.
fn lifetime(asked: &Asked) -> Duration {
    match asked.query.number("timeoutSeconds") {
        Ok(Some(seconds)) if seconds > 0 => Duration::from_secs(seconds.unsigned_abs()).min(MAX_WATCH_TIMEOUT),
        _ => WATCH_TIMEOUT.mul_f64(1.0 + rand::rng().random::<f64>()),
    }
}

fn streamed(
    asked: &Asked,
    events: WatchStream,
    mut encoder: Encoder,
    place: tokio::sync::OwnedSemaphorePermit,
) -> Response<Body> {
    let media = match encoder.format.media {
        Media::Json => "application/json",
        Media::Yaml => "application/yaml",
        Media::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
    };
    let (deadline, stop) = (lifetime(asked), asked.stop.clone());
    let end = async move {
        tokio::select! {
            () = tokio::time::sleep(deadline) => {}
            () = stop.cancelled_owned() => {}
        }
    };
    let frames = events.take_until(end).filter_map(move |event| {
        // Counts as open for as long as the stream lives.
        let _open = &place;
        futures::future::ready(encoder.encode(event).map(|bytes| Ok::<_, BoxError>(Frame::data(bytes))))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

struct Encoder {
    kind: &'static dyn ResourceType,
    format: Format,
    include: Include,
    bookmarks: bool,
    marks_initial: bool,
    /// Until the first bookmark, which ends the state that was there.
    listing: bool,
    /// Of a table, not sent yet.
    headers: bool,
    /// When the client last heard anything.
    last: Instant,
}

impl Encoder {
    /// `None` for what this client does not want to see.
    fn encode(&mut self, event: Result<WatchEvent, ApiError>) -> Option<Bytes> {
        let written = match event {
            Ok(WatchEvent::Added(object)) => self.event("ADDED", &object),
            Ok(WatchEvent::Modified(object)) => self.event("MODIFIED", &object),
            Ok(WatchEvent::Deleted(object)) => self.event("DELETED", &object),
            Ok(WatchEvent::Bookmark(revision)) => {
                let first = std::mem::take(&mut self.listing);
                // Whoever has just had an event knows the revision well enough.
                let due = if first { self.marks_initial } else { self.last.elapsed() >= BOOKMARK_INTERVAL };
                if !self.bookmarks || !due {
                    return None;
                }
                self.tree("BOOKMARK", &self.bookmark(revision, first))
            }
            Err(error) => self.tree("ERROR", &error.to_status()),
        };
        self.last = Instant::now();
        Some(written.unwrap_or_else(|error| {
            // The form may be at fault; JSON always can say so.
            line("ERROR", &error.to_status().to_string())
        }))
    }

    fn event(&mut self, name: &str, object: &Object) -> Result<Bytes, ApiError> {
        match (self.format.as_, self.format.media) {
            (As::Object, Media::Json) => {
                let mut out = Vec::with_capacity(object.json.len() + 48);
                out.extend_from_slice(format!("{{\"type\":\"{name}\",\"object\":").as_bytes());
                out.extend_from_slice(&object.json);
                out.extend_from_slice(b"}\n");
                Ok(out.into())
            }
            (As::Table, _) => {
                let meta = json!({"resourceVersion": object.revision.to_string()});
                let headers = std::mem::take(&mut self.headers);
                let tree = table::table(self.kind, &[object.tree()?], meta, self.include, self.format.version, headers);
                self.tree(name, &tree)
            }
            (As::PartialObjectMetadata | As::PartialObjectMetadataList, _) => {
                self.tree(name, &table::partial(&object.tree()?, self.format.version))
            }
            _ => self.tree(name, &object.tree()?),
        }
    }

    fn bookmark(&self, revision: u64, first: bool) -> Value {
        let resource = &self.kind.facts().resource;
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if first {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        match self.format.as_ {
            As::Table => json!({
                "kind": "Table", "apiVersion": format!("meta.k8s.io/{}", self.format.version),
                "metadata": {"resourceVersion": revision.to_string()}, "columnDefinitions": null, "rows": [],
            }),
            As::PartialObjectMetadata | As::PartialObjectMetadataList => {
                table::partial(&json!({"metadata": metadata}), self.format.version)
            }
            _ => json!({"kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata}),
        }
    }

    fn tree(&self, name: &str, tree: &Value) -> Result<Bytes, ApiError> {
        Ok(match self.format.media {
            Media::Json => line(name, &tree.to_string()),
            Media::Yaml => {
                let event = json!({"type": name, "object": tree});
                let text = serde_norway::to_string(&event).map_err(ApiError::internal)?;
                format!("---\n{text}").into()
            }
            Media::Protobuf => frame(name, &proto(tree)?),
        })
    }
}

fn line(name: &str, object: &str) -> Bytes {
    format!("{{\"type\":\"{name}\",\"object\":{object}}}\n").into()
}

/// A `metav1.WatchEvent` with its length before it: field 1 is the type, field 2 the object in its envelope.
fn frame(name: &str, envelope: &[u8]) -> Bytes {
    let mut raw = Vec::with_capacity(envelope.len() + 8);
    field(&mut raw, 1, envelope);
    let mut event = Vec::with_capacity(raw.len() + 24);
    field(&mut event, 1, name.as_bytes());
    field(&mut event, 2, &raw);
    let mut out = Vec::with_capacity(event.len() + 4);
    out.extend_from_slice(&(event.len() as u32).to_be_bytes());
    out.extend_from_slice(&event);
    out.into()
}

/// A length-delimited protobuf field.
fn field(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, out);
    prost::encoding::encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}
