//! Events live for an hour after they were last seen: upstream's `--event-ttl`, without which they would fill the store.

use crate::limits::{EVENT_SWEEP_INTERVAL, EVENT_SWEEP_PAGE, EVENT_TTL};
use coracle_client::{DeleteOptions, ResourceApi};
use coracle_proto::resource::EVENTS;
use coracle_proto::{ApiError, ListOptions, ObjectKey, Tree, meta, time};
use jiff::Timestamp;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Sweeps now and then until `stop`. Runs where the leader is; `api` may do everything with events.
pub async fn expire_events(api: Arc<dyn ResourceApi>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(EVENT_SWEEP_INTERVAL)).await.is_some() {
        match sweep_events(&*api, Timestamp::now()).await {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "old events are gone"),
            Err(error) => tracing::warn!(%error, "old events could not be removed; trying again later"),
        }
    }
}

/// Deletes what has been silent for longer than the hour before `now`; says how many.
pub async fn sweep_events(api: &dyn ResourceApi, now: Timestamp) -> Result<usize, ApiError> {
    let mut options = ListOptions { limit: Some(EVENT_SWEEP_PAGE), ..ListOptions::default() };
    let mut count = 0;
    loop {
        let page = api.list(&EVENTS, &options).await?;
        for object in &page.items {
            let event = object.tree()?;
            if !is_old(&event, now) {
                continue;
            }
            // An event that is counted up just now is not old any more.
            let unchanged =
                DeleteOptions { resource_version: Some(object.revision.to_string()), ..DeleteOptions::default() };
            match api.delete(&EVENTS, &ObjectKey::of(&event), &unchanged).await {
                Ok(_) => count += 1,
                Err(error) if error.is_not_found() || error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        match page.continue_token {
            Some(token) => options.continue_token = Some(token),
            None => return Ok(count),
        }
    }
}

fn is_old(event: &Tree, now: Timestamp) -> bool {
    let times = [
        event["lastTimestamp"].as_str(),
        event["series"]["lastObservedTime"].as_str(),
        event["eventTime"].as_str(),
        event["metadata"]["creationTimestamp"].as_str(),
    ];
    let last = times.into_iter().flatten().filter_map(time::parse).max();
    // The server stamps every event with its creation, so one without any time is none of ours to judge.
    !meta::is_deleting(event) && last.is_some_and(|at| now.duration_since(at).unsigned_abs() > EVENT_TTL && now > at)
}
