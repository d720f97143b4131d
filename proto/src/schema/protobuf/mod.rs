//! `application/vnd.kubernetes.protobuf`, driven by the schema: `runtime.Unknown` after four bytes of magic, around the object.
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding>

mod read;
mod wire;
mod write;

use super::decode::DecodeError;
use super::{Type, of_kind};
use serde_json::Value;
use wire::Reader;

const MAGIC: &[u8] = b"k8s\0";

pub fn is_protobuf(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// What was in the envelope. `kind` and `api_version` may be empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    pub api_version: String,
    pub kind: String,
    /// With `apiVersion` and `kind` where the envelope has them, in canonical form.
    pub tree: Value,
}

/// `fallback` is the type to read when the envelope names none, or one the table lacks.
pub fn decode(bytes: &[u8], fallback: Option<&Type>) -> Result<Envelope, DecodeError> {
    read_envelope(bytes, fallback, 0).map_err(DecodeError::Protobuf)
}

fn read_envelope(bytes: &[u8], fallback: Option<&Type>, depth: usize) -> Result<Envelope, String> {
    let body = bytes.strip_prefix(MAGIC).ok_or("provided data does not appear to be a protobuf message")?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    let mut reader = Reader::new(body);
    while let Some((number, value)) = reader.next_field()? {
        match number {
            1 => {
                let mut meta = Reader::new(value.bytes(number)?);
                while let Some((number, value)) = meta.next_field()? {
                    match number {
                        1 => api_version = value.text(number)?,
                        2 => kind = value.text(number)?,
                        _ => {}
                    }
                }
            }
            2 => raw = value.bytes(number)?,
            3 if !value.bytes(number)?.is_empty() => return Err("unsupported contentEncoding".into()),
            _ => {}
        }
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let ty = of_kind(group, version, &kind)
        .or(fallback)
        .ok_or_else(|| format!("no kind {kind:?} is registered for version {api_version:?}"))?;
    let mut tree = read::object(ty, raw, depth)?;
    for (name, text) in [("apiVersion", &api_version), ("kind", &kind)] {
        if !text.is_empty() && ty.field(name).is_some_and(|f| f.number.is_empty()) {
            tree.insert(name.into(), text.as_str().into());
        }
    }
    Ok(Envelope { api_version, kind, tree: Value::Object(tree) })
}

/// A tree that its type cannot hold, or a part that has no protobuf form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: cannot be written in protobuf as {shape}")]
pub struct EncodeError {
    pub path: String,
    pub shape: String,
}

impl EncodeError {
    fn at(path: &str, shape: impl Into<String>) -> Self {
        Self { path: path.into(), shape: shape.into() }
    }

    fn inside(mut self, step: &str) -> Self {
        self.path = match self.path.as_str() {
            "" => step.into(),
            rest if rest.starts_with('[') => format!("{step}{rest}"),
            rest => format!("{step}.{rest}"),
        };
        self
    }
}

/// The whole body, magic and envelope included.
pub fn encode(ty: &Type, api_version: &str, kind: &str, tree: &Value) -> Result<Vec<u8>, EncodeError> {
    let mut meta = Vec::new();
    wire::put_bytes(&mut meta, 1, api_version.as_bytes());
    wire::put_bytes(&mut meta, 2, kind.as_bytes());
    let raw = write::object(ty, tree)?;
    let mut body = Vec::with_capacity(raw.len() + meta.len() + 20);
    body.extend_from_slice(MAGIC);
    wire::put_bytes(&mut body, 1, &meta);
    wire::put_bytes(&mut body, 2, &raw);
    // contentEncoding and contentType, which upstream writes although they are empty.
    wire::put_bytes(&mut body, 3, b"");
    wire::put_bytes(&mut body, 4, b"");
    Ok(body)
}

#[cfg(test)]
mod tests;
