//! The OpenAPI documents that `kubectl apply`, `explain` and `diff` read: v2 as JSON and in gnostic's protobuf form, v3 per group
//! version. Built at first request from the rows served, then kept compressed.
//!
//! <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition>

mod definitions;
mod descriptions;
mod gnostic;
mod operations;
mod parameters;
mod paths;

use bytes::Bytes;
use coracle_proto::Resource;
use definitions::Dialect;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::sync::OnceLock;

/// One resource type as it is served.
#[derive(Clone, Debug)]
pub struct Served {
    pub resource: Resource,
    /// As discovery lists them: `create`, `get`, …
    pub verbs: Vec<Cow<'static, str>>,
    pub subresources: Vec<ServedSubresource>,
}

/// A path below an object. Empty `kind`: the object's own.
#[derive(Clone, Debug)]
pub struct ServedSubresource {
    pub name: Cow<'static, str>,
    pub group: Cow<'static, str>,
    pub version: Cow<'static, str>,
    pub kind: Cow<'static, str>,
    pub verbs: Vec<Cow<'static, str>>,
}

/// All documents for one set of rows. When the rows change, make another.
pub struct Documents {
    rows: Vec<Served>,
    /// Names this content in the v3 index, so that clients may cache by address.
    hash: String,
    v2_json: OnceLock<Compressed>,
    v2_protobuf: OnceLock<Compressed>,
    v3: BTreeMap<String, OnceLock<Compressed>>,
}

/// What clients accept when they want [`Documents::v2_protobuf`].
pub const V2_PROTOBUF_ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// How it must be labelled in the answer: Go's `mime` package, and so kubectl, cannot read the `@`. Some clients ask for this.
pub const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

impl Documents {
    pub fn new(rows: &[Served]) -> Self {
        let paths: BTreeSet<String> = rows.iter().map(|row| paths::group_version(&row.resource)).collect();
        let mut hash = Sha256::new();
        hash.update(env!("CARGO_PKG_VERSION"));
        hash.update(format!("{rows:?}"));
        let hash: String = hash.finalize().iter().map(|b| format!("{b:02X}")).collect();
        Self {
            rows: rows.to_vec(),
            hash,
            v2_json: OnceLock::new(),
            v2_protobuf: OnceLock::new(),
            v3: paths.into_iter().map(|path| (path, OnceLock::new())).collect(),
        }
    }

    /// The same for the same content: an `ETag` without its quotes.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// `/openapi/v2`.
    pub fn v2_json(&self) -> Bytes {
        self.v2_json.get_or_init(|| Compressed::new(self.v2().to_string().as_bytes())).plain()
    }

    /// `/openapi/v2` as [`V2_PROTOBUF`].
    pub fn v2_protobuf(&self) -> Bytes {
        self.v2_protobuf.get_or_init(|| Compressed::new(&gnostic::document(&self.v2()))).plain()
    }

    /// `/openapi/v3`.
    pub fn v3_index(&self) -> Value {
        let entry = |path: &String| {
            let url = format!("/openapi/v3/{path}?hash={}", self.hash);
            (path.clone(), json!({ "serverRelativeURL": url }))
        };
        json!({ "paths": self.v3.keys().map(entry).collect::<Map<_, _>>() })
    }

    /// `/openapi/v3/PATH`, with a path of the index: `api/v1`, `apis/apps/v1`.
    pub fn v3(&self, path: &str) -> Option<Bytes> {
        let slot = self.v3.get(path)?;
        Some(slot.get_or_init(|| Compressed::new(self.build_v3(path).to_string().as_bytes())).plain())
    }

    fn v2(&self) -> Value {
        json!({
            "swagger": "2.0",
            "info": info(),
            "paths": paths::all(&self.rows, Dialect::V2),
            "definitions": definitions::all(&self.rows, &self.rows, Dialect::V2),
            "security": [{ "BearerToken": [] }],
            "securityDefinitions": { "BearerToken": bearer_token() },
        })
    }

    fn build_v3(&self, path: &str) -> Value {
        let rows: Vec<Served> =
            self.rows.iter().filter(|r| paths::group_version(&r.resource) == path).cloned().collect();
        json!({
            "openapi": "3.0.0",
            "info": info(),
            "paths": paths::all(&rows, Dialect::V3),
            "components": {
                "schemas": definitions::all(&rows, &self.rows, Dialect::V3),
                "securitySchemes": { "BearerToken": bearer_token() },
            },
        })
    }
}

fn info() -> Value {
    json!({ "title": "Kubernetes", "version": "v1.33.0" })
}

fn bearer_token() -> Value {
    json!({
        "type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication",
    })
}

/// A document at rest: a tenth of its size.
struct Compressed(Vec<u8>);

const IN_MEMORY: &str = "memory takes every write and gives back what was written";

impl Compressed {
    fn new(plain: &[u8]) -> Self {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).expect(IN_MEMORY);
        let mut packed = encoder.finish().expect(IN_MEMORY);
        packed.shrink_to_fit();
        Self(packed)
    }

    fn plain(&self) -> Bytes {
        let mut plain = Vec::with_capacity(self.0.len() * 12);
        ZlibDecoder::new(self.0.as_slice()).read_to_end(&mut plain).expect(IN_MEMORY);
        plain.into()
    }
}

#[cfg(test)]
mod tests;
