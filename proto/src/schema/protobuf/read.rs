//! From the wire to a canonical tree.

use super::super::decode::{MAX_DEPTH, quantity_text};
use super::super::{Shape, Type};
use super::wire::{Reader, Wire};
use crate::time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};

pub(super) fn object(ty: &Type, bytes: &[u8], depth: usize) -> Result<Map<String, Value>, String> {
    if depth > MAX_DEPTH {
        return Err("exceeded max depth".into());
    }
    let mut tree = Map::new();
    fields(ty, &mut Vec::new(), bytes, &mut tree, depth)?;
    tree.retain(|name, value| ty.field(name).is_some_and(|f| f.keeps(value)));
    Ok(tree)
}

/// Reads one message; `path` leads to it when it is one that JSON inlines into `ty`.
fn fields(
    ty: &Type,
    path: &mut Vec<u32>,
    bytes: &[u8],
    tree: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), String> {
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next_field()? {
        path.push(number);
        if let Some(field) = ty.fields.iter().find(|f| *f.number == **path) {
            let slot = tree.entry(field.name.as_ref()).or_insert(Value::Null);
            value_into(slot, &field.shape, number, wire, depth)?;
        } else if ty.fields.iter().any(|f| f.number.starts_with(path)) {
            // As deep as the longest path in the table.
            fields(ty, path, wire.bytes(number)?, tree, depth)?;
        }
        path.pop();
    }
    Ok(())
}

/// Lists and maps grow with each occurrence, anything else is replaced.
fn value_into(slot: &mut Value, shape: &Shape, number: u32, wire: Wire<'_>, depth: usize) -> Result<(), String> {
    match shape {
        Shape::List(item) => {
            if !slot.is_array() {
                *slot = Value::Array(Vec::new());
            }
            let items = slot.as_array_mut().expect("made a list just above");
            match (item.as_ref(), wire) {
                (Shape::Int32 | Shape::Int64 | Shape::Bool | Shape::Double, Wire::Bytes(bytes)) => {
                    packed(items, item, number, bytes)
                }
                _ => {
                    items.push(value(item, number, wire, depth)?);
                    Ok(())
                }
            }
        }
        Shape::Map(item) => {
            if !slot.is_object() {
                *slot = Value::Object(Map::new());
            }
            let (key, value) = map_entry(item, wire.bytes(number)?, depth)?;
            slot.as_object_mut().expect("made an object just above").insert(key, value);
            Ok(())
        }
        _ => {
            *slot = value(shape, number, wire, depth)?;
            Ok(())
        }
    }
}

fn packed(items: &mut Vec<Value>, item: &Shape, number: u32, bytes: &[u8]) -> Result<(), String> {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let wire = match item {
            Shape::Double => Wire::Fixed64(reader.fixed64()?),
            _ => Wire::Varint(reader.varint()?),
        };
        items.push(value(item, number, wire, 0)?);
    }
    Ok(())
}

fn map_entry(item: &Shape, bytes: &[u8], depth: usize) -> Result<(String, Value), String> {
    let (mut key, mut found) = (String::new(), item.zero());
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next_field()? {
        match number {
            1 => key = wire.text(number)?,
            // A list cannot be a map's value in protobuf, so it is wrapped: `ExtraValue { items }`.
            2 => match item {
                Shape::List(_) => {
                    let mut inner = Reader::new(wire.bytes(number)?);
                    while let Some((number, wire)) = inner.next_field()? {
                        if number == 1 {
                            value_into(&mut found, item, number, wire, depth + 1)?;
                        }
                    }
                }
                _ => found = value(item, number, wire, depth + 1)?,
            },
            _ => {}
        }
    }
    Ok((key, found))
}

fn value(shape: &Shape, number: u32, wire: Wire<'_>, depth: usize) -> Result<Value, String> {
    Ok(match shape {
        Shape::String => wire.text(number)?.into(),
        Shape::Bool => (wire.varint(number)? != 0).into(),
        // Go truncates as well.
        Shape::Int32 => (wire.varint(number)? as i32).into(),
        Shape::Int64 => (wire.varint(number)? as i64).into(),
        Shape::Double => match wire {
            Wire::Fixed64(bits) => {
                let number = Number::from_f64(f64::from_bits(bits)).ok_or("proto: not a finite number")?;
                Value::Number(number)
            }
            other => return Err(other.wrong(number)),
        },
        Shape::Bytes => STANDARD.encode(wire.bytes(number)?).into(),
        Shape::Quantity => quantity(wire.bytes(number)?)?,
        Shape::IntOrString => int_or_string(wire.bytes(number)?)?,
        Shape::Time => timestamp(wire.bytes(number)?, false)?,
        Shape::MicroTime => timestamp(wire.bytes(number)?, true)?,
        Shape::Any => any(wire.bytes(number)?, depth)?,
        Shape::Object(ty) => Value::Object(object(ty.get(), wire.bytes(number)?, depth + 1)?),
        Shape::List(_) | Shape::Map(_) => return Err(format!("proto: field {number} nests a list in a list")),
    })
}

fn quantity(bytes: &[u8]) -> Result<Value, String> {
    let mut text = String::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next_field()? {
        if number == 1 {
            text = wire.text(number)?;
        }
    }
    // Go's zero value is the empty text.
    if text.is_empty() { Ok("0".into()) } else { quantity_text(&text).map(Value::from) }
}

fn int_or_string(bytes: &[u8]) -> Result<Value, String> {
    let (mut kind, mut int, mut text) = (0, 0i32, String::new());
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next_field()? {
        match number {
            1 => kind = wire.varint(number)?,
            2 => int = wire.varint(number)? as i32,
            3 => text = wire.text(number)?,
            _ => {}
        }
    }
    match kind {
        0 => Ok(int.into()),
        1 => Ok(text.into()),
        _ => Err("impossible IntOrString.Type".into()),
    }
}

/// An empty message is Go's zero time, which JSON leaves out.
fn timestamp(bytes: &[u8], micro: bool) -> Result<Value, String> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0i64, 0i32);
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next_field()? {
        match number {
            1 => seconds = wire.varint(number)? as i64,
            2 => nanos = wire.varint(number)? as i32,
            _ => {}
        }
    }
    let at = jiff::Timestamp::new(seconds, if micro { nanos } else { 0 }).map_err(|e| format!("time: {e}"))?;
    Ok(if micro { time::render_micro(at) } else { time::render(at) }.into())
}

/// `RawExtension` and its like carry JSON, or again an envelope.
fn any(bytes: &[u8], depth: usize) -> Result<Value, String> {
    let mut raw: &[u8] = &[];
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next_field()? {
        if number == 1 {
            raw = wire.bytes(number)?;
        }
    }
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    if super::is_protobuf(raw) {
        return Ok(super::read_envelope(raw, None, depth + 1)?.tree);
    }
    serde_json::from_slice(raw).map_err(|e| e.to_string())
}
