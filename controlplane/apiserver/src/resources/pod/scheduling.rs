//! Where a pod may run: tolerations, affinity, spreading.

use crate::validate::{Errors, Path, enumeration, int, items, label_selector, text};
use coracle_proto::field::FieldError;
use coracle_proto::{Tree, name};

pub fn tolerations(tolerations: &[Tree], list: &Path<'_>, errors: &mut Errors) {
    for (at, toleration) in tolerations.iter().enumerate() {
        let path = list.index(at);
        let (key, operator, effect) =
            (text(toleration, "key"), text(toleration, "operator"), text(toleration, "effect"));
        if let Some(why) = Some(key).filter(|k| !k.is_empty()).and_then(name::qualified_name) {
            errors.push(FieldError::invalid(path.field("key"), key, why));
        }
        if key.is_empty() && operator != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(path.field("operator"), operator, why));
        }
        if !toleration["tolerationSeconds"].is_null() && effect != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(path.field("effect"), effect, why));
        }
        let value = text(toleration, "value");
        match operator {
            "Equal" | "" => {
                if let Some(why) = name::label_value(value) {
                    errors.push(FieldError::invalid(path.field("operator"), value, why));
                }
            }
            "Exists" if !value.is_empty() => {
                let why = "value must be empty when `operator` is 'Exists'";
                errors.push(FieldError::invalid(path.field("operator"), toleration.clone(), why));
            }
            "Exists" => {}
            other => errors.push(FieldError::not_supported(path.field("operator"), other, &["Equal", "Exists"])),
        }
        if !effect.is_empty() {
            let known = ["NoExecute", "NoSchedule", "PreferNoSchedule"];
            enumeration(effect, &known, &path.field("effect"), errors);
        }
    }
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub fn affinity(affinity: &Tree, path: &Path<'_>, errors: &mut Errors) {
    node_affinity(&affinity["nodeAffinity"], &path.field("nodeAffinity"), errors);
    for field in ["podAffinity", "podAntiAffinity"] {
        let (terms, path) = (&affinity[field], path.field(field));
        let required = path.field(REQUIRED);
        for (at, term) in items(terms, REQUIRED).iter().enumerate() {
            pod_term(term, &required.index(at), errors);
        }
        let preferred = path.field(PREFERRED);
        for (at, weighted) in items(terms, PREFERRED).iter().enumerate() {
            let path = preferred.index(at);
            weight(int(weighted, "weight"), &path.field("weight"), errors);
            pod_term(&weighted["podAffinityTerm"], &path.field("podAffinityTerm"), errors);
        }
    }
}

fn weight(weight: i64, path: &Path<'_>, errors: &mut Errors) {
    if !(1..=100).contains(&weight) {
        errors.push(FieldError::invalid(path, weight, "must be in the range 1-100"));
    }
}

fn node_affinity(affinity: &Tree, path: &Path<'_>, errors: &mut Errors) {
    let required = &affinity[REQUIRED];
    if !required.is_null() {
        let path = path.field(REQUIRED);
        let list = path.field("nodeSelectorTerms");
        let terms = items(required, "nodeSelectorTerms");
        if terms.is_empty() {
            errors.push(FieldError::required(list, "must have at least one node selector term"));
        }
        for (at, term) in terms.iter().enumerate() {
            node_term(term, &list.index(at), errors);
        }
    }
    let preferred = path.field(PREFERRED);
    for (at, weighted) in items(affinity, PREFERRED).iter().enumerate() {
        let path = preferred.index(at);
        weight(int(weighted, "weight"), &path.field("weight"), errors);
        node_term(&weighted["preference"], &path.field("preference"), errors);
    }
}

fn node_term(term: &Tree, path: &Path<'_>, errors: &mut Errors) {
    let expressions = path.field("matchExpressions");
    for (at, expression) in items(term, "matchExpressions").iter().enumerate() {
        node_requirement(expression, &expressions.index(at), errors);
    }
    let fields = path.field("matchFields");
    for (at, field) in items(term, "matchFields").iter().enumerate() {
        let path = fields.index(at);
        let (key, operator) = (text(field, "key"), text(field, "operator"));
        if !matches!(operator, "In" | "NotIn") {
            let why = "not a valid selector operator";
            errors.push(FieldError::invalid(path.field("operator"), operator, why));
        } else if items(field, "values").len() != 1 {
            let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.push(FieldError::required(path.field("values"), why));
        }
        if key != "metadata.name" {
            errors.push(FieldError::invalid(path.field("key"), key, "not a valid field selector key"));
        }
    }
}

fn node_requirement(expression: &Tree, path: &Path<'_>, errors: &mut Errors) {
    let (key, values) = (text(expression, "key"), items(expression, "values"));
    let list = path.field("values");
    match text(expression, "operator") {
        "In" | "NotIn" if values.is_empty() => {
            let why = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(FieldError::required(list, why));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(list, why));
        }
        "Gt" | "Lt" if values.len() != 1 => {
            let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.push(FieldError::required(list, why));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.push(FieldError::invalid(path.field("operator"), other, "not a valid selector operator")),
    }
    if let Some(why) = name::qualified_name(key) {
        errors.push(FieldError::invalid(path.field("key"), key, why));
    }
    for (at, value) in values.iter().filter_map(Tree::as_str).enumerate() {
        if let Some(why) = name::label_value(value) {
            errors.push(FieldError::invalid(list.index(at), value, why));
        }
    }
}

fn topology_key(key: &str, path: &Path<'_>, errors: &mut Errors) {
    if key.is_empty() {
        errors.push(FieldError::required(path, "can not be empty"));
    } else if let Some(why) = name::qualified_name(key) {
        errors.push(FieldError::invalid(path, key, why));
    }
}

fn pod_term(term: &Tree, path: &Path<'_>, errors: &mut Errors) {
    label_selector(&term["labelSelector"], &path.field("labelSelector"), errors);
    label_selector(&term["namespaceSelector"], &path.field("namespaceSelector"), errors);
    let list = path.field("namespaces");
    for namespace in items(term, "namespaces").iter().filter_map(Tree::as_str) {
        if let Some(why) = name::dns1123_label(namespace) {
            errors.push(FieldError::invalid(list, namespace, why));
        }
    }
    topology_key(text(term, "topologyKey"), &path.field("topologyKey"), errors);
}

pub fn topology_spread(constraints: &[Tree], list: &Path<'_>, errors: &mut Errors) {
    for (at, constraint) in constraints.iter().enumerate() {
        let path = list.index(at);
        if int(constraint, "maxSkew") <= 0 {
            let why = "must be greater than zero";
            errors.push(FieldError::invalid(path.field("maxSkew"), int(constraint, "maxSkew"), why));
        }
        topology_key(text(constraint, "topologyKey"), &path.field("topologyKey"), errors);
        let action = text(constraint, "whenUnsatisfiable");
        let known = ["DoNotSchedule", "ScheduleAnyway"];
        enumeration(action, &known, &path.field("whenUnsatisfiable"), errors);
        label_selector(&constraint["labelSelector"], &path.field("labelSelector"), errors);
        if let Some(domains) = constraint["minDomains"].as_i64() {
            if domains <= 0 {
                errors.push(FieldError::invalid(path.field("minDomains"), domains, "must be greater than zero"));
            } else if action != "DoNotSchedule" {
                let why = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
                errors.push(FieldError::invalid(path.field("minDomains"), domains, why));
            }
        }
    }
}
