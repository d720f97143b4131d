//! What Deployment and ReplicaSet share: selector and template rules, and the columns about them.

use super::pod;
use crate::validate::{Errors, Path, items, label_selector, labels, non_negative, optional_int, text};
use coracle_proto::field::FieldError;
use coracle_proto::selector::LabelSelector;
use coracle_proto::{Tree, meta};

pub const SPEC: Path<'static> = Path::root("spec");

/// Defaults of the pod template that depend on other fields.
pub fn set_template_defaults(object: &mut Tree) {
    if object["spec"]["template"]["spec"].is_object() {
        pod::set_spec_defaults(&mut object["spec"]["template"]["spec"]);
    }
}

/// Selector and template, which must fit each other.
pub fn validate(object: &Tree, kind: &str, errors: &mut Errors) {
    let spec = &object["spec"];
    non_negative(optional_int(spec, "replicas"), &SPEC.field("replicas"), errors);
    non_negative(optional_int(spec, "minReadySeconds"), &SPEC.field("minReadySeconds"), errors);
    let path = SPEC.field("selector");
    let selector = &spec["selector"];
    if selector.is_null() {
        errors.push(FieldError::required(path, ""));
    } else {
        label_selector(selector, &path, errors);
        if items(selector, "matchExpressions").is_empty() && meta::strings(&selector["matchLabels"]).is_empty() {
            let why = format!("empty selector is invalid for {kind}");
            errors.push(FieldError::invalid(path, selector.clone(), why));
        }
    }
    validate_template(spec, errors);
}

fn validate_template(spec: &Tree, errors: &mut Errors) {
    let template = &spec["template"];
    let path = SPEC.field("template");
    let metadata = path.field("metadata");
    let fits = match LabelSelector::from_tree(&spec["selector"]) {
        Ok(Some(selector)) => selector.is_empty() || selector.matches_object(template),
        // A selector that is missing selects nothing.
        Ok(None) => false,
        // It has been reported above.
        Err(_) => true,
    };
    if !fits {
        let found = match &template["metadata"]["labels"] {
            Tree::Null => Tree::Object(serde_json::Map::new()),
            found => found.clone(),
        };
        let why = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(metadata.field("labels"), found, why));
    }
    labels(&template["metadata"]["labels"], &metadata.field("labels"), errors);
    let template_spec = path.field("spec");
    pod::validate_spec(&template["spec"], &template_spec, errors);
    let policy = text(&template["spec"], "restartPolicy");
    if !policy.is_empty() && policy != "Always" {
        errors.push(FieldError::not_supported(template_spec.field("restartPolicy"), policy, &["Always"]));
    }
    if !template["spec"]["activeDeadlineSeconds"].is_null() {
        let path = template_spec.field("activeDeadlineSeconds");
        errors.push(FieldError::forbidden(path, "must not be specified"));
    }
}

/// The containers, images and selector cells of `-o wide`.
pub fn wide_cells(object: &Tree) -> [serde_json::Value; 3] {
    let containers = items(&object["spec"]["template"]["spec"], "containers");
    let join = |field: &str| containers.iter().map(|c| text(c, field)).collect::<Vec<_>>().join(",");
    [join("name").into(), join("image").into(), selector_cell(&object["spec"]["selector"]).into()]
}

fn selector_cell(selector: &Tree) -> String {
    match LabelSelector::from_tree(selector) {
        Ok(Some(selector)) if selector.is_empty() => "<none>".into(),
        Ok(Some(selector)) => selector.to_string(),
        Ok(None) => "<none>".into(),
        Err(_) => "<error>".into(),
    }
}
