//! Label and field selectors against stored objects.

use crate::resources::ResourceType;
use bytes::Bytes;
use coracle_proto::ApiError;
use coracle_proto::selector::{FieldSelector, LabelSelector};
use coracle_proto::{Tree, meta};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Both selectors of a list or watch, with the kind that knows its fields.
#[derive(Clone)]
pub struct Filter {
    kind: &'static dyn ResourceType,
    labels: LabelSelector,
    fields: FieldSelector,
    /// Texts that must stand in whatever matches, as JSON: an object without one need not be decoded.
    needles: Vec<String>,
}

/// As little of an object as labels need.
#[derive(Deserialize)]
struct Labelled {
    metadata: Labels,
}

#[derive(Deserialize)]
struct Labels {
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

impl Filter {
    /// Refuses fields the kind does not offer.
    pub fn new(
        kind: &'static dyn ResourceType,
        labels: LabelSelector,
        fields: FieldSelector,
    ) -> Result<Self, ApiError> {
        for requirement in &fields.0 {
            let path = requirement.path.as_str();
            let common = path == "metadata.name" || (path == "metadata.namespace" && kind.facts().resource.namespaced);
            if !common && !kind.facts().fields.contains(&path) {
                return Err(unsupported(kind, path));
            }
        }
        let needles = needles(&fields);
        Ok(Self { kind, labels, fields, needles })
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// The one name that can match.
    pub fn name(&self) -> Option<&str> {
        self.fields.required("metadata.name")
    }

    /// The one namespace that can match.
    pub fn namespace(&self) -> Option<&str> {
        self.fields.required("metadata.namespace")
    }

    /// `value` is a stored object.
    pub fn matches(&self, value: &Bytes) -> bool {
        if self.is_empty() {
            return true;
        }
        if !self.needles.is_empty() {
            let Ok(text) = std::str::from_utf8(value) else { return false };
            if !self.needles.iter().all(|needle| text.contains(needle.as_str())) {
                return false;
            }
        }
        if self.fields.is_empty() {
            return serde_json::from_slice::<Labelled>(value).is_ok_and(|o| self.labels.matches(&o.metadata.labels));
        }
        serde_json::from_slice::<Tree>(value).is_ok_and(|object| self.matches_tree(object))
    }

    fn matches_tree(&self, mut object: Tree) -> bool {
        if !self.labels.matches_object(&object) {
            return false;
        }
        self.kind.to_served(&mut object);
        self.fields.0.iter().all(|requirement| {
            let found = match requirement.path.as_str() {
                "metadata.name" => meta::name(&object).to_owned(),
                "metadata.namespace" => meta::namespace(&object).to_owned(),
                path => self.kind.field(&object, path),
            };
            (found == requirement.value) == requirement.equal
        })
    }
}

/// Numbers and booleans stand without quotes, and an empty value may be an absent one: those are not looked for.
fn needles(fields: &FieldSelector) -> Vec<String> {
    let quoted = |value: &str| !value.is_empty() && value.parse::<f64>().is_err() && value.parse::<bool>().is_err();
    let wanted = fields.0.iter().filter(|r| r.equal && quoted(&r.value));
    wanted.map(|r| Tree::from(r.value.as_str()).to_string()).collect()
}

fn unsupported(kind: &dyn ResourceType, path: &str) -> ApiError {
    let resource = &kind.facts().resource;
    let what = match (resource.group.as_ref(), resource.kind.as_ref()) {
        ("", "Pod") => format!("field label not supported: {path}"),
        ("", "Node" | "Namespace" | "Secret" | "Event" | "Service") => format!("field label not supported: {path}"),
        _ => format!("{path:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""),
    };
    ApiError::bad_request(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;
    use coracle_proto::resource::PODS;

    #[test]
    fn what_is_skipped_undecoded_would_not_have_matched() {
        let kind = catalog::of(&PODS).expect("in the catalog");
        let pod = Bytes::from_static(
            br#"{"metadata":{"name":"p","labels":{"a":"b"}},"spec":{"nodeName":"n1","hostNetwork":true},"status":{}}"#,
        );
        let table = [
            ("spec.nodeName=n1", true),
            ("spec.nodeName=n", false),
            ("spec.nodeName=n2", false),
            ("spec.nodeName!=n2", true),
            ("spec.hostNetwork=true", true),
            ("spec.hostNetwork=false", false),
            ("status.phase=", true),
            ("metadata.name=p,spec.nodeName=n1", true),
            ("metadata.name=n1", false),
        ];
        for (text, matches) in table {
            let fields = FieldSelector::parse(text).expect(text);
            let filter = Filter::new(kind, LabelSelector::default(), fields).expect(text);
            assert_eq!(filter.matches(&pod), matches, "{text}");
        }
        let odd = FieldSelector::parse("spec.foo=a").expect("a selector");
        assert!(Filter::new(kind, LabelSelector::default(), odd).is_err());
    }
}
