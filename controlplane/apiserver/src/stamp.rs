//! The bytes an object is stored as, and how its `resourceVersion` gets into them.
//!
//! Canonical form: `{"apiVersion":"…","kind":"…","metadata":{"resourceVersion":"…",…},…}`, so that the place of the
//! version is found without parsing: nothing before it can hold a quote.

use bytes::Bytes;
use coracle_proto::Tree;
use coracle_store::Revision;
use serde_json::Value;

const HEAD: &[u8] = b"{\"apiVersion\":\"";
const MARK: &[u8] = br#""metadata":{"resourceVersion":""#;

/// The [`coracle_store::Stamp`] of the API server. Leaves values alone that are not objects in canonical form.
pub fn stamp(value: &Bytes, revision: Revision) -> Bytes {
    let Some(at) = version_start(value) else { return value.clone() };
    let end = at + value[at..].iter().position(|&b| b == b'"').unwrap_or(0);
    let digits = revision.0.to_string();
    let mut out = Vec::with_capacity(value.len() + digits.len());
    out.extend_from_slice(&value[..at]);
    out.extend_from_slice(digits.as_bytes());
    out.extend_from_slice(&value[end..]);
    out.into()
}

/// Where the digits of the resourceVersion start.
fn version_start(value: &[u8]) -> Option<usize> {
    if !value.starts_with(HEAD) {
        return None;
    }
    // apiVersion and kind are bounded by what the catalog serves.
    let window = &value[..value.len().min(1024)];
    window.windows(MARK.len()).position(|w| w == MARK).map(|at| at + MARK.len())
}

/// Writes an object in canonical form with an empty resourceVersion.
pub fn canonical(object: &Tree) -> Bytes {
    canonical_at(object, "")
}

/// As [`canonical`], with the resourceVersion given.
pub fn canonical_at(object: &Tree, version: &str) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(HEAD);
    out.extend_from_slice(object["apiVersion"].as_str().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\",\"kind\":\"");
    out.extend_from_slice(object["kind"].as_str().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\",");
    out.extend_from_slice(MARK);
    out.extend_from_slice(version.as_bytes());
    out.push(b'"');
    for (key, value) in object["metadata"].as_object().into_iter().flatten() {
        if key != "resourceVersion" {
            member(&mut out, key, value);
        }
    }
    out.push(b'}');
    for (key, value) in object.as_object().into_iter().flatten() {
        if !matches!(key.as_str(), "apiVersion" | "kind" | "metadata") {
            member(&mut out, key, value);
        }
    }
    out.push(b'}');
    out.into()
}

fn member(out: &mut Vec<u8>, key: &str, value: &Value) {
    out.push(b',');
    serde_json::to_writer(&mut *out, key).expect("writing a string to memory cannot fail");
    out.push(b':');
    serde_json::to_writer(&mut *out, value).expect("writing a tree to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_version_lands_in_metadata_whatever_the_object_holds() {
        let object = json!({
            "kind": "ConfigMap", "apiVersion": "v1",
            "metadata": {"annotations": {"resourceVersion": "", "metadata": "{\"resourceVersion\":\"\""}, "name": "a"},
            "data": {"metadata": "{\"resourceVersion\":\"\""},
        });
        let first = stamp(&canonical(&object), Revision(7));
        let tree: Value = serde_json::from_slice(&first).expect("stamped bytes are JSON");
        assert_eq!(tree["metadata"]["resourceVersion"], "7");
        assert_eq!(tree["metadata"]["annotations"], object["metadata"]["annotations"]);
        assert_eq!(tree["data"], object["data"]);
        let second = stamp(&first, Revision(1234));
        let tree: Value = serde_json::from_slice(&second).expect("stamped bytes are JSON");
        assert_eq!(tree["metadata"]["resourceVersion"], "1234");
    }

    #[test]
    fn other_values_are_left_alone() {
        for raw in ["", "{}", "10.0.0.1", "{\"apiVersion\":\"v1\"}"] {
            let bytes = Bytes::from(raw);
            assert_eq!(stamp(&bytes, Revision(1)), bytes);
        }
    }
}
