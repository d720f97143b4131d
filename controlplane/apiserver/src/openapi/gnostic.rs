//! The v2 document in the wire format of gnostic's `openapi.v2.Document`, which kubectl up to 1.27 asks for.
//!
//! The numbers are those of <https://github.com/google/gnostic/blob/main/openapiv2/OpenAPIv2.proto>. Its maps are lists of
//! `{name = 1, value = 2}`, its vendor extensions YAML text, for which JSON will do.

use serde_json::{Map, Value};

/// A message being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn text(mut self, number: u32, text: &str) -> Self {
        self.bytes(number, text.as_bytes());
        self
    }

    /// The string at `key`, if there is one.
    fn text_at(self, number: u32, tree: &Value, key: &str) -> Self {
        match tree[key].as_str() {
            Some(text) => self.text(number, text),
            None => self,
        }
    }

    fn texts_at(self, number: u32, tree: &Value, key: &str) -> Self {
        let texts = tree[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        texts.fold(self, |message, text| message.text(number, text))
    }

    fn flag_at(mut self, number: u32, tree: &Value, key: &str) -> Self {
        if tree[key] == true {
            prost::encoding::bool::encode(number, &true, &mut self.0);
        }
        self
    }

    fn message(mut self, number: u32, inner: Self) -> Self {
        self.bytes(number, &inner.0);
        self
    }

    /// The part at `key`, written by `write`, if it is there.
    fn message_at(self, number: u32, tree: &Value, key: &str, write: fn(&Value) -> Self) -> Self {
        match tree.get(key) {
            Some(part) => self.message(number, write(part)),
            None => self,
        }
    }

    fn named(self, number: u32, name: &str, value: Self) -> Self {
        self.message(number, Self::default().text(1, name).message(2, value))
    }

    /// Every `x-…` of `tree`.
    fn extensions(self, number: u32, tree: &Value) -> Self {
        let found = entries(tree).filter(|(key, _)| key.starts_with("x-"));
        found.fold(self, |m, (key, value)| m.named(number, key, Self::default().text(2, &value.to_string())))
    }

    fn bytes(&mut self, number: u32, bytes: &[u8]) {
        use prost::encoding::{WireType, encode_key, encode_varint};
        encode_key(number, WireType::LengthDelimited, &mut self.0);
        encode_varint(bytes.len() as u64, &mut self.0);
        self.0.extend_from_slice(bytes);
    }
}

fn entries(tree: &Value) -> impl Iterator<Item = (&String, &Value)> {
    tree.as_object().into_iter().flat_map(Map::iter)
}

fn named_all(number: u32, tree: &Value, write: fn(&Value) -> Message) -> Message {
    entries(tree).fold(Message::default(), |m, (name, value)| m.named(number, name, write(value)))
}

/// `v2` as this module's sibling builds it: only what it uses is known here.
pub(super) fn document(v2: &Value) -> Vec<u8> {
    let requirements = v2["security"].as_array().into_iter().flatten();
    let message = Message::default()
        .text_at(1, v2, "swagger")
        .message_at(2, v2, "info", |t| Message::default().text_at(1, t, "title").text_at(2, t, "version"))
        .message_at(8, v2, "paths", |t| named_all(2, t, path_item))
        .message_at(9, v2, "definitions", |t| named_all(1, t, schema));
    let message = requirements.fold(message, |m, requirement| m.message(12, named_all(1, requirement, scopes_of)));
    message.message_at(13, v2, "securityDefinitions", |t| named_all(1, t, api_key)).0
}

fn scopes_of(scopes: &Value) -> Message {
    let scopes = scopes.as_array().into_iter().flatten().filter_map(Value::as_str);
    scopes.fold(Message::default(), |m, scope| m.text(1, scope))
}

fn api_key(tree: &Value) -> Message {
    let key = Message::default().text_at(1, tree, "type").text_at(2, tree, "name").text_at(3, tree, "in").text_at(
        4,
        tree,
        "description",
    );
    Message::default().message(2, key)
}

fn path_item(tree: &Value) -> Message {
    let message = Message::default()
        .message_at(2, tree, "get", operation)
        .message_at(3, tree, "put", operation)
        .message_at(4, tree, "post", operation)
        .message_at(5, tree, "delete", operation)
        .message_at(8, tree, "patch", operation);
    parameters(message, 9, tree)
}

fn operation(tree: &Value) -> Message {
    let message = Message::default()
        .texts_at(1, tree, "tags")
        .text_at(3, tree, "description")
        .text_at(5, tree, "operationId")
        .texts_at(6, tree, "produces")
        .texts_at(7, tree, "consumes");
    parameters(message, 8, tree)
        .message_at(9, tree, "responses", |t| named_all(1, t, response))
        .texts_at(10, tree, "schemes")
        .extensions(13, tree)
}

fn response(tree: &Value) -> Message {
    let inner = Message::default()
        .text_at(1, tree, "description")
        .message_at(2, tree, "schema", |t| Message::default().message(1, schema(t)));
    Message::default().message(1, inner)
}

fn parameters(message: Message, number: u32, tree: &Value) -> Message {
    let listed = tree["parameters"].as_array().into_iter().flatten();
    listed.fold(message, |m, p| m.message(number, Message::default().message(1, parameter(p))))
}

/// A query parameter has `allowEmptyValue` at 5, which shifts what follows it in a path parameter.
fn parameter(tree: &Value) -> Message {
    let common = || {
        Message::default()
            .flag_at(1, tree, "required")
            .text_at(2, tree, "in")
            .text_at(3, tree, "description")
            .text_at(4, tree, "name")
    };
    let non_body = |number, inner| Message::default().message(2, Message::default().message(number, inner));
    match tree["in"].as_str() {
        Some("query") => non_body(3, common().text_at(6, tree, "type").flag_at(20, tree, "uniqueItems")),
        Some("path") => non_body(4, common().text_at(5, tree, "type").flag_at(19, tree, "uniqueItems")),
        _ => {
            let body = Message::default()
                .text_at(1, tree, "description")
                .text_at(2, tree, "name")
                .text_at(3, tree, "in")
                .flag_at(4, tree, "required")
                .message_at(5, tree, "schema", schema);
            Message::default().message(1, body)
        }
    }
}

fn schema(tree: &Value) -> Message {
    Message::default()
        .text_at(1, tree, "$ref")
        .text_at(2, tree, "format")
        .text_at(4, tree, "description")
        .texts_at(19, tree, "required")
        .message_at(21, tree, "additionalProperties", |t| Message::default().message(1, schema(t)))
        .message_at(22, tree, "type", |t| Message::default().text(1, t.as_str().unwrap_or_default()))
        .message_at(23, tree, "items", |t| Message::default().message(1, schema(t)))
        .message_at(25, tree, "properties", |t| named_all(1, t, schema))
        .extensions(31, tree)
}
