//! List-then-watch that never ends: it is opened anew with a growing wait, and each opening says what still exists.

use super::client::Link;
use crate::limits;
use bytes::Bytes;
use coracle_proto::Resource;
use coracle_proto::nodelink::{WatchEvent, WatchRequest, watch_event::Type};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// What to watch.
#[derive(Clone, Debug)]
pub struct Target {
    pub resource: Resource,
    /// Empty: all.
    pub namespace: String,
    /// e.g. `spec.nodeName=n`.
    pub fields: String,
}

impl Target {
    pub fn all(resource: Resource) -> Self {
        Self { resource, namespace: String::new(), fields: String::new() }
    }

    fn request(&self) -> WatchRequest {
        WatchRequest {
            group: self.resource.group.to_string(),
            version: self.resource.version.to_string(),
            resource: self.resource.plural.to_string(),
            namespace: self.namespace.clone(),
            label_selector: String::new(),
            field_selector: self.fields.clone(),
        }
    }
}

/// What a watch tells: objects as JSON.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// All that exists now; what is not among them is gone.
    Synced(Vec<Bytes>),
    Changed(Bytes),
    /// Its last state.
    Deleted(Bytes),
}

/// A watch that runs until it is dropped.
pub struct Watch {
    updates: mpsc::Receiver<Update>,
    _task: AbortOnDropHandle<()>,
}

impl Watch {
    pub fn start(link: Link, target: Target) -> Self {
        let (sender, updates) = mpsc::channel(limits::WATCH_QUEUE);
        let task = tokio::spawn(run(link, target, sender));
        Self { updates, _task: AbortOnDropHandle::new(task) }
    }

    /// Waits for the next update; never ends while the watch lives.
    pub async fn next(&mut self) -> Update {
        match self.updates.recv().await {
            Some(update) => update,
            // The task ends only when it is dropped.
            None => std::future::pending().await,
        }
    }
}

async fn run(link: Link, target: Target, updates: mpsc::Sender<Update>) {
    let mut wait = limits::RECONNECT_FIRST;
    loop {
        let ended = follow(&link, &target, &updates).await;
        if updates.is_closed() {
            return;
        }
        match ended {
            Ended::AfterSync(why) => {
                tracing::debug!(target = ?target.resource, why, "a watch ended");
                wait = limits::RECONNECT_FIRST;
            }
            Ended::BeforeSync(why) => tracing::debug!(target = ?target.resource, why, "a watch could not start"),
        }
        tokio::time::sleep(jittered(wait)).await;
        wait = (wait * 2).min(limits::RECONNECT_MAX);
    }
}

enum Ended {
    BeforeSync(String),
    AfterSync(String),
}

async fn follow(link: &Link, target: &Target, updates: &mpsc::Sender<Update>) -> Ended {
    let mut stream = match link.client().watch(target.request()).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return Ended::BeforeSync(status.to_string()),
    };
    let mut initial = Some(Vec::new());
    let why = loop {
        let event = match stream.message().await {
            Ok(Some(event)) => event,
            Ok(None) => break "the control plane closed it".to_owned(),
            Err(status) => break status.to_string(),
        };
        match translate(event, &mut initial) {
            Step::Nothing => {}
            Step::Send(update) => {
                if updates.send(update).await.is_err() {
                    break "nobody listens".to_owned();
                }
            }
            Step::End(why) => break why,
        }
    };
    if initial.is_some() { Ended::BeforeSync(why) } else { Ended::AfterSync(why) }
}

#[derive(Debug, PartialEq)]
enum Step {
    Nothing,
    Send(Update),
    End(String),
}

/// `initial` collects what comes before SYNCED and is `None` after it.
fn translate(event: WatchEvent, initial: &mut Option<Vec<Bytes>>) -> Step {
    let kind = event.r#type();
    let object = Bytes::from(event.object);
    match (kind, initial.as_mut()) {
        (Type::Synced, _) => Step::Send(Update::Synced(initial.take().unwrap_or_default())),
        (Type::Added | Type::Modified, Some(list)) => {
            list.push(object);
            Step::Nothing
        }
        (Type::Added | Type::Modified, None) => Step::Send(Update::Changed(object)),
        (Type::Deleted, None) => Step::Send(Update::Deleted(object)),
        (Type::Deleted, Some(_)) => Step::End("a deletion before the end of the list".into()),
        (Type::Error, _) => Step::End(String::from_utf8_lossy(&object).into_owned()),
        (Type::Unspecified, _) => Step::End("an event of no known type".into()),
    }
}

/// Up to a half more, so that a thousand nodes do not come back at once.
pub(super) fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(1.0 + rand::random::<f64>() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: Type, object: &str) -> WatchEvent {
        WatchEvent { r#type: kind.into(), revision: 1, object: object.as_bytes().to_vec() }
    }

    #[test]
    fn what_comes_before_synced_is_one_list() {
        let mut initial = Some(Vec::new());
        assert_eq!(translate(event(Type::Added, "a"), &mut initial), Step::Nothing);
        assert_eq!(translate(event(Type::Added, "b"), &mut initial), Step::Nothing);
        let all = Update::Synced(vec![Bytes::from("a"), Bytes::from("b")]);
        assert_eq!(translate(event(Type::Synced, ""), &mut initial), Step::Send(all));
        assert_eq!(translate(event(Type::Modified, "a"), &mut initial), Step::Send(Update::Changed("a".into())));
        assert_eq!(translate(event(Type::Deleted, "a"), &mut initial), Step::Send(Update::Deleted("a".into())));
        assert!(matches!(translate(event(Type::Error, "gone"), &mut initial), Step::End(why) if why == "gone"));
    }
}
