//! `/openapi/v2` and `/openapi/v3`: the documents made from the catalog, once.

use super::discovery::not_found;
use super::respond::{self, Body};
use crate::catalog::{CATALOG, REVIEWS};
use crate::openapi::{Documents, Served, ServedSubresource, V2_PROTOBUF, V2_PROTOBUF_ASKED};
use crate::resources::VERBS;
use coracle_proto::ApiError;
use http::header::{ACCEPT, CACHE_CONTROL, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use std::sync::OnceLock;

fn documents() -> &'static Documents {
    static DOCUMENTS: OnceLock<Documents> = OnceLock::new();
    DOCUMENTS.get_or_init(|| Documents::new(&rows()))
}

fn rows() -> Vec<Served> {
    let borrowed = |list: &'static [&'static str]| list.iter().map(|v| (*v).into()).collect();
    let types = CATALOG.into_iter().map(|kind| kind.facts()).map(|facts| Served {
        resource: facts.resource.clone(),
        verbs: borrowed(&VERBS),
        subresources: facts
            .subresources
            .iter()
            .map(|sub| ServedSubresource {
                name: sub.name.into(),
                group: sub.group.into(),
                version: sub.version.into(),
                kind: sub.kind.into(),
                verbs: borrowed(sub.verbs),
            })
            .collect(),
    });
    let reviews = REVIEWS.iter().map(|review| Served {
        resource: review.resource.clone(),
        verbs: vec!["create".into()],
        subresources: Vec::new(),
    });
    types.chain(reviews).collect()
}

/// `path` is what follows `/openapi/`.
pub async fn respond(headers: &HeaderMap, path: &str) -> Result<Response<Body>, ApiError> {
    let (headers, path) = (headers.clone(), path.to_owned());
    // The first request builds a document of some megabytes.
    let built = tokio::task::spawn_blocking(move || document(&headers, &path)).await;
    built.map_err(ApiError::internal)?
}

fn document(headers: &HeaderMap, path: &str) -> Result<Response<Body>, ApiError> {
    let documents = documents();
    let etag = HeaderValue::from_str(&format!("\"{}\"", documents.hash())).map_err(ApiError::internal)?;
    if headers.get(IF_NONE_MATCH) == Some(&etag) {
        let mut response = Response::new(respond::full(""));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().insert(ETAG, etag);
        return Ok(response);
    }
    let accept = headers.get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let protobuf = accept.contains(V2_PROTOBUF_ASKED) || accept.contains(V2_PROTOBUF);
    let mut response = match path {
        "v2" if protobuf => respond::raw(StatusCode::OK, V2_PROTOBUF, documents.v2_protobuf()),
        "v2" => respond::raw(StatusCode::OK, "application/json", documents.v2_json()),
        "v3" => respond::json(StatusCode::OK, &documents.v3_index()),
        _ => {
            let group_version = path.strip_prefix("v3/").ok_or_else(not_found)?;
            let found = documents.v3(group_version).ok_or_else(not_found)?;
            let mut response = respond::raw(StatusCode::OK, "application/json", found);
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
            response
        }
    };
    response.headers_mut().insert(ETAG, etag);
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}
