//! Names of API resources: which group, version, plural and kind a thing is served under.

use std::borrow::Cow;
use std::fmt;

/// One served resource type, e.g. `apps/v1 deployments`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// Empty for the core group.
    pub group: Cow<'static, str>,
    pub version: Cow<'static, str>,
    pub plural: Cow<'static, str>,
    pub kind: Cow<'static, str>,
    pub namespaced: bool,
}

impl Resource {
    pub const fn builtin(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        kind: &'static str,
        namespaced: bool,
    ) -> Self {
        Self {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            plural: Cow::Borrowed(plural),
            kind: Cow::Borrowed(kind),
            namespaced,
        }
    }

    /// `v1` or `apps/v1`: what stands in an object's `apiVersion`.
    pub fn api_version(&self) -> Cow<'_, str> {
        if self.group.is_empty() {
            Cow::Borrowed(&self.version)
        } else {
            Cow::Owned(format!("{}/{}", self.group, self.version))
        }
    }

    /// `pods` or `deployments.apps`: how messages name the type.
    pub fn qualified(&self) -> Cow<'_, str> {
        if self.group.is_empty() {
            Cow::Borrowed(&self.plural)
        } else {
            Cow::Owned(format!("{}.{}", self.plural, self.group))
        }
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.api_version(), self.plural)
    }
}

macro_rules! builtin {
    ($($name:ident = $group:literal $version:literal $plural:literal $kind:literal $namespaced:literal;)*) => {
        $(pub const $name: Resource = Resource::builtin($group, $version, $plural, $kind, $namespaced);)*
    };
}

builtin! {
    NAMESPACES = "" "v1" "namespaces" "Namespace" false;
    NODES = "" "v1" "nodes" "Node" false;
    PODS = "" "v1" "pods" "Pod" true;
    SERVICES = "" "v1" "services" "Service" true;
    ENDPOINTS = "" "v1" "endpoints" "Endpoints" true;
    CONFIG_MAPS = "" "v1" "configmaps" "ConfigMap" true;
    SECRETS = "" "v1" "secrets" "Secret" true;
    SERVICE_ACCOUNTS = "" "v1" "serviceaccounts" "ServiceAccount" true;
    EVENTS = "" "v1" "events" "Event" true;
    EVENTS_V1 = "events.k8s.io" "v1" "events" "Event" true;
    DEPLOYMENTS = "apps" "v1" "deployments" "Deployment" true;
    REPLICA_SETS = "apps" "v1" "replicasets" "ReplicaSet" true;
    ENDPOINT_SLICES = "discovery.k8s.io" "v1" "endpointslices" "EndpointSlice" true;
    LEASES = "coordination.k8s.io" "v1" "leases" "Lease" true;
}
