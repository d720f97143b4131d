//! From a tree to the wire. Fields go in the order of their numbers, as upstream writes them.

use super::super::{Field, Shape, Type};
use super::EncodeError;
use super::wire::{put_bytes, put_double, put_int};
use crate::time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

type Result<T> = std::result::Result<T, EncodeError>;

pub(super) fn object(ty: &Type, tree: &Value) -> Result<Vec<u8>> {
    let tree = tree.as_object().ok_or_else(|| EncodeError::at("", ty.go_name()))?;
    let mut present: Vec<(&Field, &Value)> = Vec::with_capacity(tree.len());
    for (name, value) in tree.iter().filter(|(_, value)| !value.is_null()) {
        match ty.field(name) {
            Some(field) if !field.number.is_empty() => present.push((field, value)),
            // The envelope carries these.
            Some(_) if name == "apiVersion" || name == "kind" => {}
            _ => return Err(EncodeError::at(name, "a field with a number")),
        }
    }
    present.sort_unstable_by(|a, b| a.0.number.cmp(&b.0.number));
    let mut out = Vec::new();
    fields(&mut out, &present, 0)?;
    Ok(out)
}

/// Writes fields whose numbers agree before `level`; those that go deeper make up messages that JSON inlines.
fn fields(out: &mut Vec<u8>, mut present: &[(&Field, &Value)], level: usize) -> Result<()> {
    while let [(field, value), ..] = present {
        let number = field.number[level];
        if field.number.len() == level + 1 {
            put(out, &field.shape, number, value).map_err(|e| e.inside(&field.name))?;
            present = &present[1..];
        } else {
            let end = present.partition_point(|(f, _)| f.number[level] == number);
            let mut inner = Vec::new();
            fields(&mut inner, &present[..end], level + 1)?;
            put_bytes(out, number, &inner);
            present = &present[end..];
        }
    }
    Ok(())
}

fn put(out: &mut Vec<u8>, shape: &Shape, number: u32, value: &Value) -> Result<()> {
    match (shape, value) {
        (Shape::List(item), Value::Array(items)) => {
            for (at, value) in items.iter().enumerate() {
                put(out, item, number, value).map_err(|e| e.inside(&format!("[{at}]")))?;
            }
        }
        (Shape::Map(item), Value::Object(entries)) => put_map(out, item, number, entries)?,
        (Shape::Object(ty), value) => put_bytes(out, number, &object(ty.get(), value)?),
        (Shape::Bool, Value::Bool(set)) => put_int(out, number, i64::from(*set)),
        (Shape::Int32 | Shape::Int64, Value::Number(n)) => {
            let int = n.as_i64().filter(|n| *shape == Shape::Int64 || i32::try_from(*n).is_ok());
            put_int(out, number, int.ok_or_else(|| EncodeError::at("", shape.go_name()))?);
        }
        (Shape::Double, Value::Number(n)) => {
            put_double(out, number, n.as_f64().ok_or_else(|| EncodeError::at("", shape.go_name()))?);
        }
        (Shape::Any, value) => {
            let mut inner = Vec::new();
            put_bytes(&mut inner, 1, value.to_string().as_bytes());
            put_bytes(out, number, &inner);
        }
        (Shape::IntOrString, Value::Number(n)) => {
            let int = n.as_i64().and_then(|n| i32::try_from(n).ok());
            let int = int.ok_or_else(|| EncodeError::at("", shape.go_name()))?;
            put_bytes(out, number, &int_or_string(0, int, ""));
        }
        (shape, Value::String(text)) => put_text(out, shape, number, text)?,
        (shape, _) => return Err(EncodeError::at("", shape.go_name())),
    }
    Ok(())
}

fn put_map(out: &mut Vec<u8>, item: &Shape, number: u32, entries: &Map<String, Value>) -> Result<()> {
    for (key, value) in entries {
        let mut entry = Vec::new();
        put_bytes(&mut entry, 1, key.as_bytes());
        if let Shape::List(_) = item {
            let mut wrapped = Vec::new();
            put(&mut wrapped, item, 1, value).map_err(|e| e.inside(key))?;
            put_bytes(&mut entry, 2, &wrapped);
        } else {
            put(&mut entry, item, 2, value).map_err(|e| e.inside(key))?;
        }
        put_bytes(out, number, &entry);
    }
    Ok(())
}

/// All shapes that are text in JSON.
fn put_text(out: &mut Vec<u8>, shape: &Shape, number: u32, text: &str) -> Result<()> {
    let refused = || EncodeError::at("", shape.go_name());
    match shape {
        Shape::String => put_bytes(out, number, text.as_bytes()),
        Shape::Bytes => put_bytes(out, number, &STANDARD.decode(text).map_err(|_| refused())?),
        Shape::Quantity => {
            let mut inner = Vec::new();
            put_bytes(&mut inner, 1, text.as_bytes());
            put_bytes(out, number, &inner);
        }
        Shape::IntOrString => put_bytes(out, number, &int_or_string(1, 0, text)),
        Shape::Time | Shape::MicroTime => {
            let at = time::parse(text).ok_or_else(refused)?;
            let nanos = if *shape == Shape::Time { 0 } else { at.subsec_nanosecond() };
            let mut inner = Vec::new();
            put_int(&mut inner, 1, at.as_second());
            put_int(&mut inner, 2, nanos.into());
            put_bytes(out, number, &inner);
        }
        _ => return Err(refused()),
    }
    Ok(())
}

fn int_or_string(kind: i64, int: i32, text: &str) -> Vec<u8> {
    let mut inner = Vec::new();
    put_int(&mut inner, 1, kind);
    put_int(&mut inner, 2, int.into());
    put_bytes(&mut inner, 3, text.as_bytes());
    inner
}
