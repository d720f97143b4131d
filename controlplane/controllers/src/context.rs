//! What a controller gets to work with.

use coracle_client::runner::{self, Controller, Metrics, NoMetrics};
use coracle_client::{Clock, EventRecorder, Informers, ResourceApi, WorkQueue, limits::WORKERS};
use coracle_proto::Resource;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The same for all controllers.
pub struct Config {
    pub clock: Clock,
    pub metrics: Arc<dyn Metrics>,
    /// The cluster's CA certificates in PEM: content of `kube-root-ca.crt` in every namespace.
    pub root_ca: String,
    /// Every resource type served now, custom ones included: what the garbage collector and the namespace controller
    /// must look through.
    pub resources: Arc<dyn Fn() -> Vec<Resource> + Send + Sync>,
    /// A node whose lease and status are older than this is not heard of (`--node-monitor-grace-period`).
    pub node_grace: Duration,
    /// Ended pods beyond this number are deleted, oldest first (`--terminated-pod-gc-threshold`).
    pub ended_pods_kept: usize,
}

impl Config {
    /// Upstream's defaults.
    pub fn new(root_ca: String, resources: Arc<dyn Fn() -> Vec<Resource> + Send + Sync>) -> Self {
        Self {
            clock: Clock::System,
            metrics: Arc::new(NoMetrics),
            root_ca,
            resources,
            node_grace: Duration::from_secs(40),
            ended_pods_kept: 12_500,
        }
    }
}

/// One controller's own view.
#[derive(Clone)]
pub struct Context {
    /// The API as this controller's identity.
    pub api: Arc<dyn ResourceApi>,
    pub informers: Informers,
    pub events: EventRecorder,
    pub config: Arc<Config>,
    pub stop: CancellationToken,
}

impl Context {
    pub fn now(&self) -> jiff::Timestamp {
        self.config.clock.now()
    }

    /// Reconciles keys from `queue` until stopped.
    pub(crate) async fn run<C: Controller>(&self, controller: Arc<C>, queue: WorkQueue<C::Key>) {
        runner::run(controller, queue, WORKERS, self.config.metrics.clone(), self.stop.clone()).await;
    }
}
