//! Static defaults, from the table `defaults.txt` (or a custom resource's schema).

use super::types::{Condition, DefaultRule};
use super::{Shape, Type};
use serde_json::{Map, Value};

/// Fills in every absent field that has a fixed default, at every depth. Parts of another type than the schema says are left alone.
pub fn apply(ty: &Type, tree: &mut Value) {
    let Value::Object(entries) = tree else { return };
    for rule in &ty.defaults {
        if holds(&rule.condition, entries) {
            fill(rule, entries);
        }
    }
    for (name, value) in entries.iter_mut() {
        if let Some(field) = ty.field(name) {
            descend(&field.shape, value);
        }
    }
}

fn descend(shape: &Shape, value: &mut Value) {
    match (shape, value) {
        (Shape::Object(ty), value) => apply(ty.get(), value),
        (Shape::List(item), Value::Array(items)) => items.iter_mut().for_each(|v| descend(item, v)),
        (Shape::Map(item), Value::Object(entries)) => entries.values_mut().for_each(|v| descend(item, v)),
        _ => {}
    }
}

fn holds(condition: &Condition, entries: &Map<String, Value>) -> bool {
    match condition {
        Condition::Always => true,
        Condition::FieldIs { field, one_of } => {
            let text = entries.get(field.as_ref()).and_then(Value::as_str).unwrap_or_default();
            one_of.iter().any(|v| v == text)
        }
        Condition::Alone(field) => entries.keys().all(|name| name == field),
    }
}

fn fill(rule: &DefaultRule, entries: &mut Map<String, Value>) {
    let Some((last, outer)) = rule.path.split_last() else { return };
    let mut target = entries;
    for step in outer {
        match target.get_mut(step.as_ref()) {
            Some(Value::Object(inner)) => target = inner,
            _ => return,
        }
    }
    if !target.contains_key(last.as_ref()) {
        target.insert(last.to_string(), rule.value.clone());
    }
}
