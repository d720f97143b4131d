//! Keeps an informer's cache like the API: list, watch from there, resume after a break, list again when too old.

use crate::facts::Project;
use crate::informer::{Informer, Step};
use crate::limits::{LIST_PAGE, RELIST_BACKOFF, WATCH_BATCH};
use coracle_proto::status::Reason;
use coracle_proto::{ApiError, ListOptions, Object, WatchEvent, meta};
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

pub(crate) async fn run<T: Project>(informer: Arc<Informer<T>>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = follow(&informer) => {}
    }
}

/// Where to go on.
enum Resume {
    List,
    Watch(u64),
}

async fn follow<T: Project>(informer: &Informer<T>) {
    let mut backoff = Backoff::new();
    let mut resume = Resume::List;
    loop {
        let result = match resume {
            Resume::List => list(informer).await,
            Resume::Watch(from) => watch(informer, from, &mut backoff).await,
        };
        resume = match result {
            Ok(revision) => {
                if matches!(resume, Resume::Watch(_)) {
                    backoff.wait().await;
                }
                Resume::Watch(revision)
            }
            Err(e) if matches!(e.reason, Reason::Expired | Reason::Gone) => {
                debug!(resource = ?informer.resource, "the watched revision is gone; listing again");
                backoff.wait().await;
                Resume::List
            }
            Err(e) => {
                warn!(resource = ?informer.resource, error = %e, "an informer lost its connection; trying again");
                backoff.wait().await;
                match resume {
                    Resume::List => Resume::List,
                    Resume::Watch(_) => Resume::Watch(informer.revision()),
                }
            }
        };
    }
}

async fn list<T: Project>(informer: &Informer<T>) -> Result<u64, ApiError> {
    let mut options = ListOptions { limit: Some(LIST_PAGE), continue_token: None, ..informer.options.clone() };
    let mut objects = Vec::new();
    loop {
        let page = informer.api.list(&informer.resource, &options).await?;
        objects.extend(page.items.into_iter().filter_map(|object| projected(informer, object)));
        options.continue_token = page.continue_token.filter(|token| !token.is_empty());
        if options.continue_token.is_none() {
            informer.replace(objects, page.revision);
            return Ok(page.revision);
        }
    }
}

/// Returns where to resume when the stream ends without an error.
async fn watch<T: Project>(informer: &Informer<T>, from: u64, backoff: &mut Backoff) -> Result<u64, ApiError> {
    let stream = informer.api.watch(&informer.resource, &informer.options, Some(from)).await?;
    let mut batches = stream.ready_chunks(WATCH_BATCH);
    while let Some(batch) = batches.next().await {
        let mut failed = None;
        let mut steps = Vec::with_capacity(batch.len());
        for event in batch {
            match event {
                Ok(event) => steps.extend(step(informer, event)),
                Err(e) => failed = Some(e),
            }
        }
        if !steps.is_empty() {
            backoff.reset();
        }
        informer.apply(steps);
        if let Some(e) = failed {
            return Err(e);
        }
    }
    Ok(informer.revision())
}

fn step<T: Project>(informer: &Informer<T>, event: WatchEvent) -> Option<Step<T>> {
    match event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) => {
            let revision = object.revision;
            Some(projected(informer, object).map_or(Step::Seen(revision), |(facts, object)| Step::Put(facts, object)))
        }
        WatchEvent::Deleted(object) => match object.tree() {
            Ok(tree) => Some(Step::Remove(coracle_proto::ObjectKey::of(&tree), object.revision)),
            Err(e) => {
                error!(resource = ?informer.resource, revision = object.revision, error = %e, "a deleted object is unreadable");
                None
            }
        },
        WatchEvent::Bookmark(revision) => Some(Step::Seen(revision)),
    }
}

/// An object that cannot be read is left as the cache has it, loudly: the API never stores one.
fn projected<T: Project>(informer: &Informer<T>, object: Object) -> Option<(T, Object)> {
    match T::project(&object) {
        Ok(facts) => Some((facts, object)),
        Err(e) => {
            let name = object.tree().map(|t| meta::name(&t).to_owned()).unwrap_or_default();
            error!(resource = ?informer.resource, name, revision = object.revision, error = %e, "an object is unreadable");
            None
        }
    }
}

struct Backoff {
    next: Duration,
}

impl Backoff {
    fn new() -> Self {
        Self { next: RELIST_BACKOFF.0 }
    }

    fn reset(&mut self) {
        self.next = RELIST_BACKOFF.0;
    }

    async fn wait(&mut self) {
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(RELIST_BACKOFF.1);
    }
}
