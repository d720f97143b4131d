//! Strategic merge patch, with the schema's merge keys and all directives.
//!
//! <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/> and the design notes in
//! <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md>.

mod directive;
mod list;
mod order;

use super::{Field, Shape, Type};
use directive::{DELETE_FROM_LIST, without_directives, without_nulls};
use serde_json::{Map, Value};

type Object = Map<String, Value>;
type Result<T> = std::result::Result<T, PatchError>;

/// Messages are upstream's; the API server answers 422 or 400 with them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    #[error("error decoding patch: json: cannot unmarshal {0} into Go value of type map[string]interface {{}}")]
    NotAnObject(&'static str),
    #[error("unknown patch type: {directive} in map: {map}")]
    UnknownDirective { directive: String, map: String },
    #[error("map: {map} does not contain declared merge key: {key}")]
    NoMergeKey { map: String, key: String },
    /// A directive whose value or name is not as it must be.
    #[error("invalid patch format of {0}")]
    Malformed(&'static str),
    #[error("merging lists cannot yet be specified in the patch")]
    MergeInList,
    #[error("expected a {wanted}, but received a {found}")]
    WrongType { wanted: &'static str, found: &'static str },
    #[error("cannot merge lists without merge key for {0}")]
    NoKeyDeclared(String),
    #[error("list element types are not identical: {0}")]
    MixedList(String),
    #[error("The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n")]
    OrderMismatch { patch: String, order: String },
    #[error("unable to find api field in struct {owner} for the json field {field:?}")]
    UnknownField { owner: String, field: String },
}

/// What the schema says about the entries of a JSON object.
#[derive(Clone, Copy)]
enum Schema<'t> {
    Struct(&'t Type),
    Map(&'t Shape),
    /// `Any`: merged without keys.
    None,
}

impl<'t> Schema<'t> {
    fn of(shape: &'t Shape) -> Self {
        match shape {
            Shape::Object(ty) => Self::Struct(ty.get()),
            Shape::Map(item) => Self::Map(item),
            _ => Self::None,
        }
    }

    fn name(self) -> String {
        match self {
            Self::Struct(ty) => ty.go_name().into(),
            Self::Map(item) => format!("map[string]{}", item.go_name()),
            Self::None => "interface {}".into(),
        }
    }

    /// Looks a key up whose two values are both objects or both lists.
    fn entry(self, key: &str) -> Result<Entry<'t>> {
        match self {
            Self::Struct(ty) => match ty.field(key) {
                Some(field) => Ok(Entry { shape: Some(&field.shape), field: Some(field) }),
                None if ty.preserve_unknown => Ok(Entry { shape: None, field: None }),
                None => Err(PatchError::UnknownField { owner: ty.short_name().into(), field: key.into() }),
            },
            Self::Map(item) => Ok(Entry { shape: Some(item), field: None }),
            Self::None => Ok(Entry { shape: None, field: None }),
        }
    }
}

#[derive(Clone, Copy)]
struct Entry<'t> {
    shape: Option<&'t Shape>,
    field: Option<&'t Field>,
}

impl<'t> Entry<'t> {
    fn replaces_object(self) -> bool {
        self.field.is_some_and(|f| f.patch.replace)
    }

    fn merges_list(self) -> bool {
        self.field.is_some_and(|f| f.patch.merge)
    }

    fn merge_key(self) -> Option<&'t str> {
        self.field?.patch.merge_key.as_deref()
    }

    fn schema(self) -> Schema<'t> {
        self.shape.map_or(Schema::None, Schema::of)
    }

    /// Of a list's elements.
    fn item_schema(self) -> Schema<'t> {
        match self.shape {
            Some(Shape::List(item)) => Schema::of(item),
            _ => Schema::None,
        }
    }
}

/// Applies `patch` to `original`. The result is as raw as the patch was: decode it by the schema before it is stored.
pub fn strategic(original: &Value, patch: &Value, ty: &Type) -> Result<Value> {
    let Value::Object(patch) = patch else {
        return Err(PatchError::NotAnObject(directive::json_kind_of(patch)));
    };
    let original = original.as_object().cloned().unwrap_or_default();
    merge_objects(original, patch.clone(), Schema::Struct(ty)).map(Value::Object)
}

fn merge_objects(mut original: Object, mut patch: Object, schema: Schema<'_>) -> Result<Object> {
    if let Some(directive) = patch.remove(directive::PATCH) {
        return match directive.as_str() {
            Some("replace") => Ok(patch),
            Some("delete") => Ok(Object::new()),
            // "merge" is what happens anyway; upstream knows it only inside lists and refuses it here.
            _ => {
                patch.insert(directive::PATCH.into(), directive.clone());
                Err(directive::unknown(&directive, &patch))
            }
        };
    }
    directive::apply_retain_keys(&mut original, &mut patch)?;
    order::apply_element_orders(&mut original, &mut patch, schema)?;
    for (key, value) in patch {
        if let Some(list) = directive::list_named_by(&key, DELETE_FROM_LIST, "primitive list")? {
            delete_from_list(&mut original, list, value)?;
            continue;
        }
        merge_entry(&mut original, key, value, schema)?;
    }
    Ok(original)
}

fn merge_entry(original: &mut Object, key: String, value: Value, schema: Schema<'_>) -> Result<()> {
    let merged = match (original.get_mut(&key), value) {
        (_, Value::Null) => {
            original.remove(&key);
            return Ok(());
        }
        (Some(Value::Object(old)), Value::Object(new)) => {
            let entry = schema.entry(&key)?;
            if entry.replaces_object() {
                Value::Object(new)
            } else {
                Value::Object(merge_objects(std::mem::take(old), new, entry.schema())?)
            }
        }
        (Some(Value::Array(old)), Value::Array(new)) => {
            let entry = schema.entry(&key)?;
            if entry.merges_list() {
                Value::Array(list::merge(std::mem::take(old), new, entry)?)
            } else {
                Value::Array(new)
            }
        }
        // New, or of another type than before: as it is, but for what only a patch may hold.
        (_, value) => match without_directives(without_nulls(value)) {
            Some(value) => value,
            None => {
                original.remove(&key);
                return Ok(());
            }
        },
    };
    original.insert(key, merged);
    Ok(())
}

/// `$deleteFromPrimitiveList/NAME: […]`.
fn delete_from_list(original: &mut Object, name: &str, unwanted: Value) -> Result<()> {
    let Value::Array(unwanted) = unwanted else {
        return Err(PatchError::WrongType { wanted: "slice", found: directive::kind_of(&unwanted) });
    };
    if let Some(Value::Array(items)) = original.get_mut(name) {
        items.retain(|item| !unwanted.iter().any(|u| list::same(u, item)));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
