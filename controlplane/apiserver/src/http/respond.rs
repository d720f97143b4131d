//! Writing answers: objects, lists and trees, in the negotiated form.

use super::negotiate::{As, Format, Media};
use super::table::{self, Include};
use crate::codec;
use crate::limits::GZIP_THRESHOLD;
use crate::registry::list::{list_meta, render};
use crate::resources::ResourceType;
use bytes::Bytes;
use coracle_proto::schema::protobuf;
use coracle_proto::{ApiError, Object, ObjectList, Tree};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use std::io::Write;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Bytes that are of this type already.
pub fn raw(status: StatusCode, media: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

pub fn json(status: StatusCode, tree: &Tree) -> Response<Body> {
    let mut bytes = tree.to_string().into_bytes();
    bytes.push(b'\n');
    raw(status, Media::Json.name(), bytes)
}

/// A tree with `apiVersion` and `kind`, as it is.
pub fn tree(status: StatusCode, tree: &Tree, format: Format) -> Result<Response<Body>, ApiError> {
    Ok(match format.media {
        Media::Json => json(status, tree),
        Media::Yaml => raw(status, Media::Yaml.name(), yaml(tree)?),
        Media::Protobuf => raw(status, Media::Protobuf.name(), proto(tree)?),
    })
}

fn yaml(tree: &Tree) -> Result<String, ApiError> {
    serde_norway::to_string(tree).map_err(ApiError::internal)
}

/// The protobuf envelope of a tree whose kind has a schema.
pub fn proto(tree: &Tree) -> Result<Vec<u8>, ApiError> {
    let (api_version, kind) =
        (tree["apiVersion"].as_str().unwrap_or_default(), tree["kind"].as_str().unwrap_or_default());
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let ty = codec::schema_of(group, version, kind)?;
    protobuf::encode(ty, api_version, kind, tree).map_err(ApiError::internal)
}

/// One object in whichever form.
pub fn object(
    status: StatusCode,
    kind: &dyn ResourceType,
    object: &Object,
    format: Format,
    include: Include,
) -> Result<Response<Body>, ApiError> {
    match (format.as_, format.media) {
        (As::Object, Media::Json) => {
            let mut bytes = Vec::with_capacity(object.json.len() + 1);
            bytes.extend_from_slice(&object.json);
            bytes.push(b'\n');
            Ok(raw(status, Media::Json.name(), bytes))
        }
        (As::Table, _) => {
            let full = object.tree()?;
            let meta = json!({"resourceVersion": object.revision.to_string()});
            tree(status, &table::table(kind, &[full], meta, include, format.version, true), format)
        }
        (As::PartialObjectMetadata | As::PartialObjectMetadataList, _) => {
            tree(status, &table::partial(&object.tree()?, format.version), format)
        }
        _ => tree(status, &object.tree()?, format),
    }
}

/// The kind of a list: `PodList`, but `Endpoints` lists as `EndpointsList`.
pub fn list_kind(kind: &dyn ResourceType) -> String {
    format!("{}List", kind.facts().resource.kind)
}

pub fn list(
    kind: &dyn ResourceType,
    list: &ObjectList,
    format: Format,
    include: Include,
) -> Result<Response<Body>, ApiError> {
    let resource = &kind.facts().resource;
    if let (As::Object, Media::Json) = (format.as_, format.media) {
        let bytes = render(list, &resource.api_version(), &list_kind(kind));
        return Ok(raw(StatusCode::OK, Media::Json.name(), bytes));
    }
    let trees = list.items.iter().map(Object::tree).collect::<Result<Vec<_>, _>>()?;
    let meta = list_meta(list);
    let whole = match format.as_ {
        As::Table => table::table(kind, &trees, meta, include, format.version, true),
        As::PartialObjectMetadata | As::PartialObjectMetadataList => {
            let items: Vec<Value> = trees.iter().map(|t| table::partial(t, format.version)).collect();
            json!({
                "kind": "PartialObjectMetadataList", "apiVersion": format!("meta.k8s.io/{}", format.version),
                "metadata": meta, "items": items,
            })
        }
        _ => json!({
            "kind": list_kind(kind), "apiVersion": resource.api_version(), "metadata": meta, "items": trees,
        }),
    };
    tree(StatusCode::OK, &whole, format)
}

/// Adds `Warning` headers; what no header can hold is left out of the text.
pub fn warn(response: &mut Response<Body>, warnings: &[String]) {
    for warning in warnings.iter().take(MAX_WARNINGS) {
        let clean: String = warning.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
        let quoted = clean.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append("warning", value);
        }
    }
}

/// So many are enough to see what is wrong, and fit every client's header limit.
const MAX_WARNINGS: usize = 50;

/// Compresses large bodies for clients that accept it.
pub async fn compress(headers: &HeaderMap, response: Response<Body>) -> Response<Body> {
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let gzip = accepted.split(',').any(|part| part.trim().split(';').next() == Some("gzip"));
    let size = http_body::Body::size_hint(response.body()).exact().unwrap_or(0);
    if !gzip || size < GZIP_THRESHOLD as u64 {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let plain = match body.collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) => return Response::from_parts(parts, failed(error)),
    };
    let original = plain.clone();
    let packed = tokio::task::spawn_blocking(move || {
        let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 8), Compression::fast());
        encoder.write_all(&plain).and_then(|()| encoder.finish())
    });
    match packed.await {
        Ok(Ok(packed)) => {
            parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            parts.headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
            Response::from_parts(parts, full(packed))
        }
        // Packing is only a courtesy.
        _ => Response::from_parts(parts, full(original)),
    }
}

/// A body that breaks off with this error.
fn failed(error: BoxError) -> Body {
    let frames = futures::stream::iter([Err::<http_body::Frame<Bytes>, BoxError>(error)]);
    http_body_util::StreamBody::new(frames).boxed_unsync()
}
