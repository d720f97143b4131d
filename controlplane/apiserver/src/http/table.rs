//! `meta.k8s.io Table`, and objects reduced to their metadata.

use super::query::Query;
use crate::resources::{Column, ResourceType};
use coracle_proto::{ApiError, Tree};
use jiff::Timestamp;
use serde_json::{Value, json};

/// What stands beside the cells of each row: the query parameter `includeObject`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Include {
    None,
    #[default]
    Metadata,
    Object,
}

impl Include {
    pub fn from_query(query: &Query) -> Result<Self, ApiError> {
        match query.get("includeObject") {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::None),
            "Object" => Ok(Self::Object),
            other => {
                let why = coracle_proto::field::FieldError::invalid(
                    "includeObject",
                    other,
                    "must be 'Metadata', 'Object', 'None', or empty",
                );
                Err(ApiError::invalid("meta.k8s.io", "TableOptions", "", &[why]))
            }
        }
    }
}

/// `headers`: watches send the columns only once.
pub fn table(
    kind: &dyn ResourceType,
    objects: &[Tree],
    metadata: Value,
    include: Include,
    version: &str,
    headers: bool,
) -> Value {
    let now = Timestamp::now();
    let columns = headers.then(|| kind.columns().iter().map(Column::to_tree).collect::<Vec<_>>());
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let beside = match include {
                Include::None => Value::Null,
                Include::Metadata => partial(object, version),
                Include::Object => object.clone(),
            };
            let mut row = json!({"cells": kind.row(object, now)});
            if !beside.is_null() {
                row["object"] = beside;
            }
            row
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata,
        "columnDefinitions": columns, "rows": rows,
    })
}

pub fn partial(object: &Tree, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": object["metadata"],
    })
}
