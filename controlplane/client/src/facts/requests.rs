//! Amounts of resources: what a pod asks for, what a node has.

use coracle_proto::quantity::Quantity;
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    pub milli_cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub ephemeral_storage: i64,
    /// Only nodes have it; every pod counts as one.
    pub pods: i64,
    /// Everything else in whole units, ordered by name.
    pub other: Vec<(Box<str>, i64)>,
}

impl Requests {
    pub fn other(&self, name: &str) -> i64 {
        self.other.iter().find(|(n, _)| &**n == name).map_or(0, |(_, amount)| *amount)
    }

    pub fn add(&mut self, more: &Self) {
        self.combine(more, i64::saturating_add);
    }

    pub fn subtract(&mut self, less: &Self) {
        self.combine(less, i64::saturating_sub);
    }

    /// The larger of each amount.
    pub fn raise_to(&mut self, other: &Self) {
        self.combine(other, i64::max);
    }

    fn combine(&mut self, with: &Self, f: fn(i64, i64) -> i64) {
        self.milli_cpu = f(self.milli_cpu, with.milli_cpu);
        self.memory = f(self.memory, with.memory);
        self.ephemeral_storage = f(self.ephemeral_storage, with.ephemeral_storage);
        self.pods = f(self.pods, with.pods);
        for (name, amount) in &with.other {
            match self.other.binary_search_by(|(n, _)| n.cmp(name)) {
                Ok(at) => self.other[at].1 = f(self.other[at].1, *amount),
                Err(at) => self.other.insert(at, (name.clone(), f(0, *amount))),
            }
        }
    }
}

/// A `ResourceList` as it stands in JSON.
#[derive(Deserialize, Default)]
#[serde(transparent)]
pub(super) struct RawAmounts<'a>(#[serde(borrow)] BTreeMap<Cow<'a, str>, Value>);

impl RawAmounts<'_> {
    /// Amounts the API server let through are quantities; anything else counts as absent.
    pub(super) fn requests(&self) -> Requests {
        let mut all = Requests::default();
        for (name, value) in &self.0 {
            let Some(amount) = quantity(value) else { continue };
            match name.as_ref() {
                "cpu" => all.milli_cpu = amount.milli_value(),
                "memory" => all.memory = amount.value(),
                "ephemeral-storage" => all.ephemeral_storage = amount.value(),
                "pods" => all.pods = amount.value(),
                // A BTreeMap's keys come in order, so `other` stays sorted.
                other => all.other.push((other.into(), amount.value())),
            }
        }
        all
    }

    pub(super) fn names(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text).ok(),
        Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
        _ => None,
    }
}
