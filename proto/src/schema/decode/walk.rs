//! The schema-driven visitor: one pass over any serde source, JSON or YAML, straight into the canonical tree.

use super::super::{Shape, Type};
use super::report::{Report, Step};
use super::scalar::{base64_text, quantity_text, time_text};
use super::skip::Skip;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// Reads a whole object.
pub(super) struct ObjectSeed<'c, 't> {
    pub ty: &'t Type,
    pub report: &'c mut Report<'t>,
}

/// Reads one value of a shape. `Null` comes back for a null and for what was reported as wrong.
struct ShapeSeed<'c, 't> {
    shape: &'t Shape,
    report: &'c mut Report<'t>,
}

impl<'de> DeserializeSeed<'de> for ObjectSeed<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> DeserializeSeed<'de> for ShapeSeed<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ObjectSeed<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a JSON object of type {}", self.ty.go_name())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        read_struct(self.ty, map, self.report)
    }
}

static ANY: Shape = Shape::Any;

fn read_struct<'de, 't, A: MapAccess<'de>>(
    ty: &'t Type,
    mut map: A,
    report: &mut Report<'t>,
) -> Result<Value, A::Error> {
    let mut tree = Map::new();
    // Fields that were there but are left out of the tree: they too must not come twice.
    let mut left_out: Vec<&str> = Vec::new();
    while let Some(name) = map.next_key::<String>()? {
        report.spend(name.len() + 1).map_err(A::Error::custom)?;
        let Some(field) = ty.field(&name) else {
            read_unknown(ty, name, &mut map, &mut tree, report)?;
            continue;
        };
        if tree.contains_key(&name) || left_out.contains(&field.name.as_ref()) {
            report.duplicate_field(&name);
        }
        report.enter(Step::Field(ty, &field.name));
        let value = map.next_value_seed(ShapeSeed { shape: &field.shape, report });
        report.leave();
        let value = value?;
        if field.keeps(&value) {
            tree.insert(name, value);
        } else {
            tree.remove(&name);
            left_out.push(&field.name);
        }
    }
    Ok(Value::Object(tree))
}

fn read_unknown<'de, 't, A: MapAccess<'de>>(
    ty: &'t Type,
    name: String,
    map: &mut A,
    tree: &mut Map<String, Value>,
    report: &mut Report<'t>,
) -> Result<(), A::Error> {
    if !ty.preserve_unknown {
        report.unknown_field(&name);
        map.next_value_seed(Skip { report, depth: 0 })?;
        return Ok(());
    }
    if tree.contains_key(&name) {
        report.duplicate_field(&name);
    }
    report.enter(Step::Key(name.clone()));
    let value = map.next_value_seed(ShapeSeed { shape: &ANY, report });
    report.leave();
    tree.insert(name, value?);
    Ok(())
}

fn read_map<'de, 't, A: MapAccess<'de>>(
    item: &'t Shape,
    mut map: A,
    report: &mut Report<'t>,
) -> Result<Value, A::Error> {
    let mut tree = Map::new();
    while let Some(key) = map.next_key::<String>()? {
        report.spend(key.len() + 1).map_err(A::Error::custom)?;
        if tree.contains_key(&key) {
            report.duplicate_field(&key);
        }
        report.enter(Step::Key(key.clone()));
        let value = map.next_value_seed(ShapeSeed { shape: item, report });
        report.leave();
        tree.insert(key, or_zero(value?, item));
    }
    Ok(Value::Object(tree))
}

fn or_zero(value: Value, shape: &Shape) -> Value {
    if value.is_null() { shape.zero() } else { value }
}

impl<'t> ShapeSeed<'_, 't> {
    fn wrong(self, found: &str) -> Value {
        match self.shape {
            // These read their own JSON; their complaints name no field upstream.
            Shape::Quantity => self.report.malformed(&crate::quantity::QuantityError.to_string()),
            Shape::IntOrString => self.report.wrong_go_type(found, "int32"),
            Shape::Time | Shape::MicroTime => self.report.wrong_go_type(found, "string"),
            shape => self.report.wrong_type(found, shape),
        }
        Value::Null
    }

    /// A number by its text, for what is not an integer in range.
    fn wrong_number(self, text: impl fmt::Display) -> Value {
        match self.shape {
            Shape::Int32 | Shape::Int64 | Shape::IntOrString => self.wrong(&format!("number {text}")),
            _ => self.wrong("number"),
        }
    }

    fn text(self, text: &str) -> Value {
        let checked = match self.shape {
            Shape::String | Shape::IntOrString | Shape::Any => Ok(text.into()),
            Shape::Bytes => base64_text(text).map(|t| Value::from(&*t)),
            Shape::Quantity => quantity_text(text).map(Value::from),
            Shape::Time => time_text(text, false).map(Value::from),
            Shape::MicroTime => time_text(text, true).map(Value::from),
            _ => return self.wrong("string"),
        };
        checked.unwrap_or_else(|message| {
            self.report.malformed(&message);
            Value::Null
        })
    }
}

impl<'de> Visitor<'de> for ShapeSeed<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(match self.shape {
            Shape::Bool | Shape::Any => value.into(),
            _ => self.wrong("bool"),
        })
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(match self.shape {
            Shape::Int64 | Shape::Double | Shape::Any => value.into(),
            Shape::Int32 | Shape::IntOrString if i32::try_from(value).is_ok() => value.into(),
            Shape::Quantity => self.text(&value.to_string()),
            _ => self.wrong_number(value),
        })
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        if let Ok(value) = i64::try_from(value) {
            return self.visit_i64(value);
        }
        Ok(match self.shape {
            Shape::Double | Shape::Any => value.into(),
            Shape::Quantity => self.text(&value.to_string()),
            _ => self.wrong_number(value),
        })
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(match self.shape {
            // YAML has infinities and NaN, JSON has not.
            Shape::Double | Shape::Any if value.is_finite() => value.into(),
            Shape::Quantity => self.text(&value.to_string()),
            _ => self.wrong_number(value),
        })
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.report.spend(value.len() + 1).map_err(E::custom)?;
        Ok(self.text(value))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        if matches!(self.shape, Shape::String) {
            self.report.spend(value.len() + 1).map_err(E::custom)?;
            return Ok(value.into());
        }
        self.visit_str(&value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let item = match self.shape {
            Shape::List(item) => item,
            Shape::Any => &ANY,
            _ => {
                Skip { report: self.report, depth: 0 }.visit_seq(seq)?;
                return Ok(self.wrong("array"));
            }
        };
        let report = self.report;
        let mut items = Vec::new();
        report.enter(Step::Index(0));
        // On an error the whole report is thrown away, so the path may stay where it is.
        while let Some(value) = seq.next_element_seed(ShapeSeed { shape: item, report })? {
            report.spend(1).map_err(A::Error::custom)?;
            items.push(or_zero(value, item));
            report.set_index(items.len());
        }
        report.leave();
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        match self.shape {
            Shape::Object(ty) => read_struct(ty.get(), map, self.report),
            Shape::Map(item) => read_map(item, map, self.report),
            Shape::Any => read_map(&ANY, map, self.report),
            _ => {
                Skip { report: self.report, depth: 0 }.visit_map(map)?;
                Ok(self.wrong("object"))
            }
        }
    }
}
