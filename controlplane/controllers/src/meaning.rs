//! Comparing JSON trees by what they mean: null, `{}`, `[]` and absence are the same.

use coracle_proto::Tree;
use serde_json::Value;

pub(crate) fn same(a: &Tree, b: &Tree) -> bool {
    normal(a.clone()) == normal(b.clone())
}

/// Without fields that hold nothing. Elements of lists stay, whatever they hold.
pub(crate) fn normal(tree: Tree) -> Tree {
    match tree {
        Value::Object(map) => {
            let fields = map.into_iter().map(|(key, value)| (key, normal(value)));
            fields.filter(|(_, value)| !is_nothing(value)).collect::<serde_json::Map<_, _>>().into()
        }
        Value::Array(items) => items.into_iter().map(normal).collect(),
        other => other,
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}
