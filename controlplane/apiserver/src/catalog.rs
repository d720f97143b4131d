//! The table of every resource type served. Adding one: a file in `resources/`, a row here.

use crate::resources::{
    ResourceType, config_map::ConfigMaps, deployment::Deployments, endpoint_slice::EndpointSlices,
    endpoints::Endpoints, event::Events, event::EventsV1, lease::Leases, namespace::Namespaces, node::Nodes, pod::Pods,
    replica_set::ReplicaSets, secret::Secrets, service::Services, service_account::ServiceAccounts,
};
use coracle_proto::Resource;

/// By group and version, then by name, as discovery lists them.
pub static CATALOG: [&dyn ResourceType; 14] = [
    &ConfigMaps,
    &Endpoints,
    &Events,
    &Namespaces,
    &Nodes,
    &Pods,
    &Secrets,
    &ServiceAccounts,
    &Services,
    &Deployments,
    &ReplicaSets,
    &EventsV1,
    &Leases,
    &EndpointSlices,
];

/// A kind that is only ever created, answered and forgotten.
pub struct Review {
    pub resource: Resource,
    pub singular: &'static str,
}

/// Reviews, in the same order.
pub static REVIEWS: [Review; 5] = [
    review("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview", "selfsubjectreview"),
    review("authentication.k8s.io", "tokenreviews", "TokenReview", "tokenreview"),
    review("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview", "selfsubjectaccessreview"),
    review("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview", "selfsubjectrulesreview"),
    review("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview", "subjectaccessreview"),
];

const fn review(group: &'static str, plural: &'static str, kind: &'static str, singular: &'static str) -> Review {
    Review { resource: Resource::builtin(group, "v1", plural, kind, false), singular }
}

/// Groups in upstream's order of priority.
pub static GROUPS: [(&str, &str); 7] = [
    ("", "v1"),
    ("apps", "v1"),
    ("events.k8s.io", "v1"),
    ("authentication.k8s.io", "v1"),
    ("authorization.k8s.io", "v1"),
    ("coordination.k8s.io", "v1"),
    ("discovery.k8s.io", "v1"),
];

/// The type served under this group, version and plural.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static dyn ResourceType> {
    CATALOG.into_iter().find(|kind| {
        let resource = &kind.facts().resource;
        resource.plural == plural && resource.group == group && resource.version == version
    })
}

pub fn find_review(group: &str, version: &str, plural: &str) -> Option<&'static Review> {
    REVIEWS.iter().find(|r| r.resource.plural == plural && r.resource.group == group && r.resource.version == version)
}

/// The type a caller in process names.
pub fn of(resource: &Resource) -> Option<&'static dyn ResourceType> {
    find(&resource.group, &resource.version, &resource.plural)
}
