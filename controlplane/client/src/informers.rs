//! The informers that several controllers and the scheduler share: one watch per kind in the process.

use crate::facts::{LeaseFacts, Meta, NodeFacts, PodFacts, ServiceFacts, WorkloadFacts};
use crate::{Informer, ResourceApi};
use coracle_proto::resource::{
    CONFIG_MAPS, DEPLOYMENTS, ENDPOINT_SLICES, ENDPOINTS, LEASES, NAMESPACES, REPLICA_SETS, SERVICE_ACCOUNTS,
};
use coracle_proto::selector::FieldSelector;
use coracle_proto::{ListOptions, Resource};
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Cheap to clone.
#[derive(Clone)]
pub struct Informers {
    pub pods: Arc<Informer<PodFacts>>,
    pub nodes: Arc<Informer<NodeFacts>>,
    pub services: Arc<Informer<ServiceFacts>>,
    pub deployments: Arc<Informer<WorkloadFacts>>,
    pub replica_sets: Arc<Informer<WorkloadFacts>>,
    pub endpoints: Arc<Informer<Meta>>,
    pub endpoint_slices: Arc<Informer<Meta>>,
    pub namespaces: Arc<Informer<Meta>>,
    pub service_accounts: Arc<Informer<Meta>>,
    /// Only those called `kube-root-ca.crt`.
    pub root_ca_config_maps: Arc<Informer<Meta>>,
    /// Only those in `kube-node-lease`.
    pub node_leases: Arc<Informer<LeaseFacts>>,
}

impl Informers {
    /// `api` is the identity they read as. Nothing happens before [`Self::start`].
    pub fn new(api: &Arc<dyn ResourceApi>) -> Self {
        let root_ca =
            ListOptions { fields: FieldSelector::one("metadata.name", "kube-root-ca.crt"), ..ListOptions::default() };
        let leases = ListOptions { namespace: "kube-node-lease".into(), ..ListOptions::default() };
        Self {
            pods: Informer::of_kind(api.clone()),
            nodes: Informer::of_kind(api.clone()),
            services: Informer::of_kind(api.clone()),
            deployments: all(api, DEPLOYMENTS),
            replica_sets: all(api, REPLICA_SETS),
            endpoints: all(api, ENDPOINTS),
            endpoint_slices: all(api, ENDPOINT_SLICES),
            namespaces: all(api, NAMESPACES),
            service_accounts: all(api, SERVICE_ACCOUNTS),
            root_ca_config_maps: Informer::new(api.clone(), CONFIG_MAPS, root_ca),
            node_leases: Informer::new(api.clone(), LEASES, leases),
        }
    }

    /// Starts them all. They end after `stop`, or when the set of tasks is dropped.
    #[must_use = "dropping the tasks ends them"]
    pub fn start(&self, stop: &CancellationToken) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        macro_rules! start {
            ($($field:ident)*) => {
                $(tasks.spawn(crate::reflector::run(self.$field.clone(), stop.clone()));)*
            };
        }
        start!(pods nodes services deployments replica_sets endpoints endpoint_slices);
        start!(namespaces service_accounts root_ca_config_maps node_leases);
        tasks
    }

    pub async fn synced(&self) {
        tokio::join!(
            self.pods.synced(),
            self.nodes.synced(),
            self.services.synced(),
            self.deployments.synced(),
            self.replica_sets.synced(),
            self.endpoints.synced(),
            self.endpoint_slices.synced(),
            self.namespaces.synced(),
            self.service_accounts.synced(),
            self.root_ca_config_maps.synced(),
            self.node_leases.synced(),
        );
    }
}

fn all<T: crate::facts::Project>(api: &Arc<dyn ResourceApi>, resource: Resource) -> Arc<Informer<T>> {
    Informer::new(api.clone(), resource, ListOptions::default())
}
