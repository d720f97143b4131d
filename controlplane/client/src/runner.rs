//! Runs a controller: workers take keys from its queue, reconcile, retry with back-off; spans, metrics and stopping
//! are here so that a controller has only `reconcile`.

use crate::limits::DRAIN_DEADLINE;
use crate::queue::{Key, WorkQueue};
use async_trait::async_trait;
use coracle_proto::ApiError;
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info_span, warn};

/// Level-triggered: `reconcile` looks at the world as it is and moves it towards what is wanted. It may be called at
/// any time, any number of times, after a crash between any two writes.
#[async_trait]
pub trait Controller: Send + Sync + 'static {
    const NAME: &'static str;
    type Key: Key;

    async fn reconcile(&self, key: &Self::Key) -> Result<Next, Error>;
}

/// When to look at the key again, apart from changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Done,
    After(Duration),
}

/// Why a reconcile failed; the key is tried again after its back-off.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Several writes side by side, of which some failed.
    #[error("{failed} of {total} writes failed, the first with: {first}")]
    Partly { failed: usize, total: usize, first: ApiError },
    /// What was read makes no sense; trying again helps only after somebody changes it.
    #[error("{what}: {why}")]
    Unusable { what: String, why: String },
}

impl Error {
    /// Somebody else wrote first: the ordinary course of things.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Api(e) | Self::Partly { first: e, .. } if e.is_conflict())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Done,
    Requeued,
    Conflict,
    Failed,
    Panicked,
}

/// Where the runner reports to. Called on the worker, so it must not block.
pub trait Metrics: Send + Sync + 'static {
    fn reconciled(&self, controller: &'static str, outcome: Outcome, took: Duration, queued: usize);
}

/// Keeps no metrics.
pub struct NoMetrics;

impl Metrics for NoMetrics {
    fn reconciled(&self, _: &'static str, _: Outcome, _: Duration, _: usize) {}
}

/// Runs `controller` until `stop`, then waits for running reconciles up to [`DRAIN_DEADLINE`].
pub async fn run<C: Controller>(
    controller: Arc<C>,
    queue: WorkQueue<C::Key>,
    workers: usize,
    metrics: Arc<dyn Metrics>,
    stop: CancellationToken,
) {
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        tasks.spawn(work(controller.clone(), queue.clone(), metrics.clone()));
    }
    stop.cancelled().await;
    queue.close();
    let drained = tokio::time::timeout(DRAIN_DEADLINE, async { while tasks.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        warn!(controller = C::NAME, running = tasks.len(), "a controller did not stop in time; its work is cut off");
        tasks.shutdown().await;
    }
}

async fn work<C: Controller>(controller: Arc<C>, queue: WorkQueue<C::Key>, metrics: Arc<dyn Metrics>) {
    while let Some(key) = queue.next().await {
        let started = Instant::now();
        let outcome = attempt(&*controller, &queue, &key).await;
        queue.done(&key);
        metrics.reconciled(C::NAME, outcome, started.elapsed(), queue.len());
        // A worker that never has to wait must still let others run.
        tokio::task::consume_budget().await;
    }
}

async fn attempt<C: Controller>(controller: &C, queue: &WorkQueue<C::Key>, key: &C::Key) -> Outcome {
    let span = info_span!("reconcile", controller = C::NAME, key = %key);
    let call = AssertUnwindSafe(controller.reconcile(key)).catch_unwind();
    let result = call.instrument(span.clone()).await;
    let _entered = span.enter();
    match result {
        Ok(Ok(next)) => {
            queue.forget(key);
            match next {
                Next::Done => Outcome::Done,
                Next::After(delay) => {
                    queue.add_after(key.clone(), delay);
                    Outcome::Requeued
                }
            }
        }
        Ok(Err(e)) if e.is_conflict() => {
            debug!(error = %e, "somebody else wrote first; trying again");
            queue.retry(key.clone());
            Outcome::Conflict
        }
        Ok(Err(e)) => {
            let delay = queue.retry(key.clone());
            warn!(error = %e, ?delay, "reconcile failed; trying again");
            Outcome::Failed
        }
        Err(_panic) => {
            let delay = queue.retry(key.clone());
            error!(?delay, "reconcile panicked; trying again");
            Outcome::Panicked
        }
    }
}
