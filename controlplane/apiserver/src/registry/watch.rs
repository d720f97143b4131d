//! Watches: the store's changes as events of one kind, through the caller's selectors.

use super::select::Filter;
use super::{Call, Registry, errors, get, keys};
use crate::resources::ResourceType;
use crate::stamp;
use coracle_client::WatchStream;
use coracle_proto::api::ReadAt;
use coracle_proto::{ApiError, ListOptions, ObjectKey, WatchEvent};
use coracle_store::{Change, Entry, Notice, Revision};
use futures::{StreamExt, stream};

/// Where a watch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchFrom {
    /// With everything that is there as `Added`, then a `Bookmark`.
    State(ReadAt),
    /// With the first change after this revision.
    After(u64),
}

impl Registry {
    pub async fn watch(
        &self,
        call: &Call<'_>,
        options: &ListOptions,
        from: WatchFrom,
    ) -> Result<WatchStream, ApiError> {
        self.authorise_selected(call, "watch", Some(&options.fields))?;
        let filter = Filter::new(call.kind, options.labels.clone(), options.fields.clone())?;
        let prefix = watched_prefix(call, &filter);
        match from {
            WatchFrom::After(revision) => self.changes(call, &prefix, Revision(revision), filter),
            WatchFrom::State(at) => {
                let view = self.view(at).await?;
                let revision = view.revision();
                let mut events = Vec::new();
                for entry in view.range(&prefix, None).filter(|e| filter.matches(&e.value)) {
                    events.push(Ok(WatchEvent::Added(get::served(call.kind, entry)?)));
                }
                events.push(Ok(WatchEvent::Bookmark(revision.0)));
                let changes = self.changes(call, &prefix, revision, filter)?;
                Ok(stream::iter(events).chain(changes).boxed())
            }
        }
    }

    fn changes(&self, call: &Call<'_>, prefix: &str, after: Revision, filter: Filter) -> Result<WatchStream, ApiError> {
        let notices = self.store.watch(prefix, after).map_err(errors::read_error)?;
        let kind = call.kind;
        let events = notices.filter_map(move |notice| {
            let event = match notice {
                Ok(Notice::Change(change)) => event(kind, change, &filter).transpose(),
                Ok(Notice::Progress(revision)) => Some(Ok(WatchEvent::Bookmark(revision.0))),
                Err(error) => Some(Err(errors::read_error(error))),
            };
            futures::future::ready(event)
        });
        Ok(events.boxed())
    }
}

/// A watch of one object listens to nothing else.
fn watched_prefix(call: &Call<'_>, filter: &Filter) -> String {
    let namespace = Some(call.key.namespace.as_str()).filter(|n| !n.is_empty()).or(filter.namespace());
    match filter.name() {
        // The prefix of a name may match longer names too; the filter drops those.
        Some(name) if namespace.is_some() || !call.resource().namespaced => {
            keys::object(call.kind, &ObjectKey::new(namespace.unwrap_or_default(), name)).to_string()
        }
        _ => keys::prefix(call.kind, namespace.unwrap_or_default()),
    }
}

/// What a change means to a watcher who sees only what matches.
fn event(kind: &'static dyn ResourceType, change: Change, filter: &Filter) -> Result<Option<WatchEvent>, ApiError> {
    let revision = change.revision;
    let before = change.before.filter(|e| filter.matches(&e.value));
    let after = change.after.filter(|e| filter.matches(&e.value));
    let object = |entry: Entry| get::served(kind, entry);
    Ok(match (before, after) {
        (None, None) => None,
        (None, Some(new)) => Some(WatchEvent::Added(object(new)?)),
        (Some(_), Some(new)) => Some(WatchEvent::Modified(object(new)?)),
        (Some(old), None) => {
            let value = stamp::stamp(&old.value, revision);
            Some(WatchEvent::Deleted(object(Entry { value, modified: revision, ..old })?))
        }
    })
}
