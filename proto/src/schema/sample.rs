//! Objects with every field set, made from the table, for tests.

use super::{Shape, Type};
use serde_json::{Map, Value, json};

/// How often a test that feeds damage repeats; `CORACLE_FUZZ_ROUNDS` says so for all of them.
pub fn rounds(default: usize) -> usize {
    std::env::var("CORACLE_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// Makes values that differ from each other; the same seed makes the same object.
pub struct Sampler {
    state: u64,
    /// How many objects may nest.
    max_depth: usize,
}

impl Sampler {
    pub fn new(seed: u64, max_depth: usize) -> Self {
        Self { state: seed.wrapping_mul(2) + 1, max_depth }
    }

    pub fn next(&mut self) -> u64 {
        // SplitMix64.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// An object of a kind. Only fields that protobuf knows.
    pub fn object(&mut self, ty: &Type, api_version: &str, kind: &str) -> Value {
        let mut tree = self.fields(ty, 0);
        tree.insert("apiVersion".into(), api_version.into());
        tree.insert("kind".into(), kind.into());
        Value::Object(tree)
    }

    fn fields(&mut self, ty: &Type, depth: usize) -> Map<String, Value> {
        let mut tree = Map::new();
        for field in ty.fields.iter().filter(|f| !f.number.is_empty()) {
            // One member of a union of sources would do, but all of them test more.
            if let Some(value) = self.value(&field.shape, depth)
                && field.keeps(&value)
            {
                tree.insert(field.name.to_string(), value);
            }
        }
        tree
    }

    fn value(&mut self, shape: &Shape, depth: usize) -> Option<Value> {
        let n = self.next();
        Some(match shape {
            Shape::String => format!("s{}", n % 1000).into(),
            Shape::Bool => true.into(),
            Shape::Int32 => (n as i32 | 1).into(),
            Shape::Int64 => (n as i64 | 1).into(),
            Shape::Double => (f64::from(n as i32) + 0.5).into(),
            Shape::Bytes => ["AQ==", "AQID", "//79"][n as usize % 3].into(),
            Shape::Quantity => ["100m", "1", "128Mi", "3k", "1e3"][n as usize % 5].into(),
            Shape::IntOrString if n.is_multiple_of(2) => "25%".into(),
            Shape::IntOrString => (n as u16).into(),
            Shape::Time => format!("2026-01-02T03:04:{:02}Z", n % 60).into(),
            Shape::MicroTime => format!("2026-01-02T03:04:05.{:06}Z", n % 1_000_000).into(),
            Shape::Any => json!({"a": [n % 10, {"b": null}], "c": "d"}),
            Shape::Object(_) if depth >= self.max_depth => return None,
            Shape::Object(ty) => Value::Object(self.fields(ty.get(), depth + 1)),
            Shape::List(item) => {
                let items: Vec<Value> = (0..1 + n % 2).filter_map(|_| self.value(item, depth)).collect();
                // Protobuf cannot tell an empty list from none.
                return (!items.is_empty()).then(|| items.into());
            }
            Shape::Map(item) => {
                let entries = (0..1 + n % 2).filter_map(|i| Some((format!("k{i}"), self.value(item, depth)?)));
                let entries: Map<String, Value> = entries.collect();
                return (!entries.is_empty()).then(|| entries.into());
            }
        })
    }
}
