//! Passes over a value nobody wants, but counts it: behind an unknown field, YAML aliases may hide a document of any size.

use super::MAX_DEPTH;
use super::report::Report;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

pub(super) struct Skip<'c, 't> {
    pub report: &'c mut Report<'t>,
    /// Below the report's own path.
    pub depth: usize,
}

impl<'t> Skip<'_, 't> {
    fn count<E: Error>(&mut self, amount: usize) -> Result<(), E> {
        if self.depth > MAX_DEPTH {
            return Err(E::custom("exceeded max depth"));
        }
        self.report.spend(amount).map_err(E::custom)
    }

    fn inner(&mut self) -> Skip<'_, 't> {
        Skip { depth: self.depth + 1, report: &mut *self.report }
    }
}

impl<'de> DeserializeSeed<'de> for Skip<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Skip<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        self.count(text.len())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(self.inner())?.is_some() {
            self.count(1)?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            self.count(key.len() + 1)?;
            map.next_value_seed(self.inner())?;
        }
        Ok(())
    }
}
