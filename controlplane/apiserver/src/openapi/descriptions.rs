//! The prose of the API, which `k8s-openapi` carries: a table of the types whose schemas are asked for it.

use k8s_openapi::api::{
    apps, authentication, authorization, autoscaling, coordination, core, discovery, events, policy,
};
use k8s_openapi::apimachinery::pkg::apis::meta;
use k8s_openapi::schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value};

/// Adds the schema of a type and of all it refers to.
type Describe = fn(&mut SchemaGenerator);

macro_rules! described {
    ($($ty:ty,)*) => { &[$(|g| drop(g.subschema_for::<$ty>()),)*] };
}

/// Every kind that is or will soon be served. One that lacks here is served without prose.
const KINDS: &[Describe] = described![
    core::v1::ConfigMap,
    core::v1::Endpoints,
    core::v1::Event,
    core::v1::Namespace,
    core::v1::Node,
    core::v1::Pod,
    core::v1::Secret,
    core::v1::Service,
    core::v1::ServiceAccount,
    core::v1::Binding,
    apps::v1::Deployment,
    apps::v1::ReplicaSet,
    authentication::v1::SelfSubjectReview,
    authentication::v1::TokenRequest,
    authentication::v1::TokenReview,
    authorization::v1::SelfSubjectAccessReview,
    authorization::v1::SubjectAccessReview,
    autoscaling::v1::Scale,
    coordination::v1::Lease,
    discovery::v1::EndpointSlice,
    events::v1::Event,
    policy::v1::Eviction,
    meta::v1::APIResourceList,
    meta::v1::DeleteOptions,
    meta::v1::ListMeta,
    meta::v1::Patch,
    meta::v1::Status,
    meta::v1::WatchEvent<k8s_openapi::apimachinery::pkg::runtime::RawExtension>,
];

/// By definition name.
pub(super) struct Descriptions(Map<String, Value>);

impl Descriptions {
    /// Takes milliseconds and megabytes; not to be kept.
    pub fn gather() -> Self {
        let mut generator = SchemaSettings::draft07().into_generator();
        for describe in KINDS {
            describe(&mut generator);
        }
        Self(generator.take_definitions(false).into_iter().collect())
    }

    pub fn of_type(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.get("description")?.as_str()
    }

    pub fn of_field(&self, name: &str, field: &str) -> Option<&str> {
        self.property(name, field)?.get("description")?.as_str()
    }

    /// The definition that a field, its elements or its values refer to. The schema table does not keep which of the
    /// free-form definitions a field has.
    pub fn target(&self, name: &str, field: &str) -> Option<&str> {
        let mut schema = self.property(name, field)?;
        while let Some(inner) = schema.get("items").or_else(|| schema.get("additionalProperties")) {
            schema = inner;
        }
        schema.get("$ref")?.as_str()?.rsplit('/').next()
    }

    fn property(&self, name: &str, field: &str) -> Option<&Value> {
        self.0.get(name)?.get("properties")?.get(field)
    }
}
