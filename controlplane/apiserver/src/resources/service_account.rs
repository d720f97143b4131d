//! ServiceAccount: an identity for pods.

use super::{Column, Facts, ResourceType, Subresource, age, column, name_cell};
use crate::validate::{Errors, items};
use coracle_proto::Tree;
use coracle_proto::resource::SERVICE_ACCOUNTS;
use jiff::Timestamp;
use serde_json::Value;

pub struct ServiceAccounts;

static FACTS: Facts = Facts::new(SERVICE_ACCOUNTS, "serviceaccount", "serviceaccounts")
    .short_names(&["sa"])
    .subresources(&[Subresource {
        name: "token",
        group: "authentication.k8s.io",
        version: "v1",
        kind: "TokenRequest",
        verbs: &["create"],
    }])
    .returns_deleted();

static COLUMNS: [Column; 3] = [
    column("Name", "string", "Name must be unique within a namespace."),
    column("Secrets", "string", "Number of secrets listed for pods that run as this account."),
    column("Age", "string", "Time since creation."),
];

impl ResourceType for ServiceAccounts {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn validate(&self, _object: &Tree, _errors: &mut Errors) {}

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Tree, now: Timestamp) -> Vec<Value> {
        vec![name_cell(object), items(object, "secrets").len().into(), age(object, now)]
    }
}
