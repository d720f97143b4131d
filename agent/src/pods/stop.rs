//! One container's end: preStop, then its stop signal, then a kill; and its last words.

use super::context::Context;
use super::{hooks, start};
use crate::limits;
use crate::volumes::PodFolder;
use coracle_runtime::{ContainerId, LogQuery, RuntimeError};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Container, Pod};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub struct Stopping {
    pub context: Arc<Context>,
    pub pod: Arc<Pod>,
    pub container: Container,
    pub id: ContainerId,
    pub host: String,
    pub message: String,
    pub grace: Duration,
}

impl Stopping {
    /// Returns when it has exited.
    pub async fn run(&self) -> Result<(), RuntimeError> {
        let name = &self.container.name;
        self.context.container_event(&self.pod, name, false, "Killing", self.message.clone());
        let began = Instant::now();
        self.pre_stop().await;
        // The hook's time counts, but the process is always given a little of its own.
        let left = self.grace.saturating_sub(began.elapsed()).max(limits::GRACE_MIN.min(self.grace));
        match self.context.runtime.stop_container(&self.id, left).await {
            Err(RuntimeError::NotFound { .. }) => Ok(()),
            other => other,
        }
    }

    async fn pre_stop(&self) {
        let Some(hook) = self.container.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref()) else { return };
        let run = hooks::run(&self.context, &self.container, &self.id, &self.host, hook);
        match tokio::time::timeout(self.grace, run).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => {
                let message = format!("{}: {why}", start::hook_name("PreStopHook", hook));
                self.context.container_event(&self.pod, &self.container.name, true, "FailedPreStopHook", message);
            }
            Err(_) => tracing::debug!(container = self.container.name, "a preStop hook used up the grace"),
        }
    }
}

/// What an attempt that ended leaves to be said: the file it wrote, or the end of its log where it asks for that.
pub async fn last_words(
    context: &Context,
    folder: &PodFolder,
    container: &Container,
    id: &ContainerId,
    attempt: u32,
    failed: bool,
) -> String {
    let path = folder.termination_log(&container.name, attempt);
    let written = tokio::task::spawn_blocking(move || read_bounded(&path)).await.unwrap_or_default();
    let from_log = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    if !written.is_empty() || !failed || !from_log {
        return written;
    }
    log_tail(context, id).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "the end of a log could not be read");
        String::new()
    })
}

fn read_bounded(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|f| f.take(limits::TERMINATION_MESSAGE_MAX_BYTES as u64).read_to_end(&mut bytes));
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            tracing::debug!(%error, path = %path.display(), "a termination message could not be read");
            String::new()
        }
    }
}

async fn log_tail(context: &Context, id: &ContainerId) -> Result<String, RuntimeError> {
    let query = LogQuery { tail_lines: Some(limits::TERMINATION_LOG_MAX_LINES), ..LogQuery::default() };
    let mut lines = context.runtime.logs(id, &query).await?;
    let mut text = Vec::new();
    while let Some(line) = lines.next().await {
        text.extend_from_slice(&line?.bytes);
    }
    let from = text.len().saturating_sub(limits::TERMINATION_LOG_MAX_BYTES);
    Ok(String::from_utf8_lossy(&text[from..]).into_owned())
}
