//! Telling pod templates apart: equality without the hash label, and the hash itself.

use crate::meaning::normal;
use coracle_proto::{Tree, meta};
use serde_json::Value;

pub(crate) const HASH_LABEL: &str = "pod-template-hash";

/// Equal but for the hash label and for what is only absent in another way (null, `{}`, `[]`).
pub(crate) fn same(a: &Tree, b: &Tree) -> bool {
    normal(without_hash(a)) == normal(without_hash(b))
}

fn without_hash(template: &Tree) -> Tree {
    let mut template = template.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH_LABEL);
    }
    template
}

/// FNV-1a of the template and the collision count, in letters that make no words, as upstream writes it. The number
/// differs from upstream's, which hashes Go's memory; nothing depends on that.
pub(crate) fn hash(template: &Tree, collisions: Option<i32>) -> String {
    // Keys of a tree come in order, so equal templates print equally.
    let text = normal(without_hash(template)).to_string();
    let salt = collisions.map(|n| i64::from(n).to_le_bytes());
    let bytes = text.bytes().chain(salt.into_iter().flatten());
    let fnv = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    const SAFE: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    fnv.to_string().bytes().map(|digit| char::from(SAFE[usize::from(digit) % SAFE.len()])).collect()
}

/// `name-hash`, the name shortened if both together were too long.
pub(crate) fn set_name(deployment: &str, hash: &str) -> String {
    let room = 253usize.saturating_sub(hash.len() + 1);
    format!("{}-{hash}", deployment.get(..deployment.len().min(room)).unwrap_or(deployment))
}

/// The template or selector labels with the hash added.
pub(crate) fn with_hash(tree: &mut Tree, labels: &str, hash: &str) {
    meta::entry_object(tree, labels).insert(HASH_LABEL.into(), hash.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn equality_ignores_the_hash_and_ways_of_absence() {
        let a = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"image": "x", "env": []}]}});
        let b = json!({"metadata": {"labels": {"a": "b", "pod-template-hash": "q"}, "creationTimestamp": null},
                       "spec": {"containers": [{"image": "x", "resources": {}}]}});
        let c = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"image": "y"}]}});
        assert!(same(&a, &b) && !same(&a, &c));
        assert_eq!(hash(&a, None), hash(&b, None));
        assert_ne!(hash(&a, None), hash(&c, None));
        assert_ne!(hash(&a, None), hash(&a, Some(1)));
        assert!(hash(&a, None).bytes().all(|c| b"bcdfghjklmnpqrstvwxz2456789".contains(&c)));
    }

    #[test]
    fn names_fit() {
        assert_eq!(set_name("web", "abc"), "web-abc");
        assert_eq!(set_name(&"a".repeat(253), "abc").len(), 253);
    }
}
