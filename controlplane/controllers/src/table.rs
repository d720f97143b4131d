//! The table of controllers, and starting them.

use crate::context::{Config, Context};
use crate::{deployment, endpoints, garbage, namespace, nodes, replicaset, root_ca, service_account};
use coracle_client::{EventRecorder, Informers, ResourceApi};
use futures::future::BoxFuture;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// One controller.
pub struct Row {
    /// Its service account in `kube-system` and its name in events, as upstream has them.
    pub name: &'static str,
    /// Runs until `Context::stop`.
    pub run: fn(Context) -> BoxFuture<'static, ()>,
}

macro_rules! table {
    ($($name:literal => $run:path;)*) => {
        &[$(Row { name: $name, run: |context| Box::pin($run(context)) }),*]
    };
}

pub const CONTROLLERS: &[Row] = table! {
    "deployment-controller" => deployment::run;
    "replicaset-controller" => replicaset::run;
    "endpointslice-controller" => endpoints::run_slices;
    "endpoint-controller" => endpoints::run_legacy;
    "endpointslicemirroring-controller" => endpoints::run_mirror;
    "service-account-controller" => service_account::run;
    "root-ca-certificate-publisher" => root_ca::run;
    "generic-garbage-collector" => garbage::run;
    "namespace-controller" => namespace::run;
    "node-controller" => nodes::run_lifecycle;
    "taint-eviction-controller" => nodes::run_eviction;
    "pod-garbage-collector" => nodes::run_pod_gc;
};

/// The running controllers.
pub struct Handle {
    tasks: JoinSet<()>,
}

/// Starts every controller of the table. `api_as` gives the API as the service account of that name in `kube-system`.
/// `informers` are shared with others, who start them; controllers wait until they are synced.
pub fn start(
    api_as: &dyn Fn(&str) -> Arc<dyn ResourceApi>,
    informers: &Informers,
    config: Config,
    stop: &CancellationToken,
) -> Handle {
    let config = Arc::new(config);
    let mut tasks = JoinSet::new();
    for row in CONTROLLERS {
        let api = api_as(row.name);
        let context = Context {
            events: EventRecorder::start(api.clone(), row.name, config.clock),
            api,
            informers: informers.clone(),
            config: config.clone(),
            stop: stop.clone(),
        };
        tasks.spawn((row.run)(context));
    }
    Handle { tasks }
}

impl Handle {
    /// Returns when all have stopped, after the stop they were started with.
    pub async fn stopped(mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(e) = ended {
                tracing::error!(error = %e, "a controller ended badly");
            }
        }
    }
}
