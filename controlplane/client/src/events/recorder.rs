//! Writes events from a bounded queue, on a task of its own, so that telling never delays doing.

use super::correlate::{Correlator, Report, Series, Verdict};
use crate::api::{Patch, ResourceApi};
use crate::clock::Clock;
use crate::facts::Meta;
use crate::limits::{EVENT_QUEUE, EVENT_TRIES};
use coracle_proto::resource::EVENTS;
use coracle_proto::status::Reason;
use coracle_proto::{ApiError, ObjectKey, Resource, Tree, meta, time};
use jiff::Timestamp;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::{debug, warn};

/// What an event is about: a `core/v1 ObjectReference`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Involved {
    pub api_version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub field_path: String,
}

impl Involved {
    pub fn of(resource: &Resource, meta: &Meta) -> Self {
        Self {
            api_version: resource.api_version().into_owned(),
            kind: resource.kind.to_string(),
            namespace: meta.namespace().into(),
            name: meta.name().into(),
            uid: meta.uid.to_string(),
            field_path: String::new(),
        }
    }

    pub fn of_tree(resource: &Resource, object: &Tree) -> Self {
        Self {
            api_version: resource.api_version().into_owned(),
            kind: resource.kind.to_string(),
            namespace: meta::namespace(object).into(),
            name: meta::name(object).into(),
            uid: meta::uid(object).into(),
            field_path: String::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    Normal,
    Warning,
}

/// A handle for one component; clones share the queue.
#[derive(Clone)]
pub struct EventRecorder {
    queue: mpsc::Sender<Report>,
    clock: Clock,
    component: Arc<str>,
}

impl EventRecorder {
    /// `component` becomes `source.component` and `reportingComponent`. The writing task ends when the last clone is
    /// dropped and everything queued has been tried.
    pub fn start(api: Arc<dyn ResourceApi>, component: &str, clock: Clock) -> Self {
        let (queue, reports) = mpsc::channel(EVENT_QUEUE);
        let writer = Writer {
            api,
            clock,
            component: component.into(),
            host: String::new(),
            correlator: Correlator::default(),
            last_name: 0,
        };
        tokio::spawn(writer.run(reports));
        Self { queue, clock, component: component.into() }
    }

    pub fn normal(&self, about: &Involved, reason: &str, message: impl Into<String>) {
        self.record(about, Severity::Normal, reason, message.into());
    }

    pub fn warning(&self, about: &Involved, reason: &str, message: impl Into<String>) {
        self.record(about, Severity::Warning, reason, message.into());
    }

    /// Never waits; what finds the queue full is logged instead.
    pub fn record(&self, about: &Involved, severity: Severity, reason: &str, message: String) {
        let report = Report { about: about.clone(), severity, reason: reason.into(), message, at: self.clock.now() };
        if let Err(e) = self.queue.try_send(report) {
            let (mpsc::error::TrySendError::Full(report) | mpsc::error::TrySendError::Closed(report)) = e;
            warn!(
                component = &*self.component,
                kind = report.about.kind,
                name = report.about.name,
                reason = report.reason,
                message = report.message,
                "too many events; one is only logged"
            );
        }
    }
}

struct Writer {
    api: Arc<dyn ResourceApi>,
    clock: Clock,
    component: String,
    /// `source.host` and `reportingInstance`; components of the control plane leave it empty, as upstream's do.
    host: String,
    correlator: Correlator,
    /// Event names end in nanoseconds; two within the clock's grain must still differ.
    last_name: i128,
}

impl Writer {
    async fn run(mut self, mut reports: mpsc::Receiver<Report>) {
        while let Some(report) = reports.recv().await {
            if let Err(e) = self.write(&report).await {
                log_lost(&report, &e);
            }
        }
    }

    async fn write(&mut self, report: &Report) -> Result<(), ApiError> {
        match self.correlator.decide(report) {
            Verdict::Drop => {
                debug!(name = report.about.name, reason = report.reason, "an event exceeds its object's budget");
                Ok(())
            }
            Verdict::Create { series, message } => self.create(report, series, &message).await,
            Verdict::Count { series, name, count, message } => {
                let patch = json!({
                    "count": count, "message": message, "lastTimestamp": time::render(report.at),
                });
                let key = ObjectKey::new(namespace(&report.about), name.clone());
                match persist(&*self.api, &key, &Write::Patch(patch)).await {
                    Ok(_) => {
                        self.correlator.remember(series, name, count);
                        Ok(())
                    }
                    Err(e) if e.is_not_found() => {
                        self.correlator.forget(&series);
                        self.create(report, series, &message).await
                    }
                    Err(e) => Err(e),
                }
            }
        }
    }

    async fn create(&mut self, report: &Report, series: Series, message: &str) -> Result<(), ApiError> {
        let name = self.name(&report.about, self.clock.now());
        let event = self.render(report, &name, message);
        let key = ObjectKey::new(namespace(&report.about), "");
        persist(&*self.api, &key, &Write::Create(event)).await?;
        self.correlator.remember(series, name, 1);
        Ok(())
    }

    fn name(&mut self, about: &Involved, now: Timestamp) -> String {
        self.last_name = now.as_nanosecond().max(self.last_name + 1);
        // An object's name may be as long as an event's; leave room for the suffix.
        let stem = about.name.get(..about.name.len().min(230)).unwrap_or_default().trim_end_matches(['.', '-']);
        format!("{stem}.{:x}", self.last_name)
    }

    fn render(&self, report: &Report, name: &str, message: &str) -> Tree {
        let about = &report.about;
        let at = time::render(report.at);
        let mut involved = json!({
            "apiVersion": about.api_version, "kind": about.kind, "namespace": about.namespace, "name": about.name,
            "uid": about.uid, "fieldPath": about.field_path,
        });
        let mut source = json!({"component": self.component, "host": self.host});
        for tree in [&mut involved, &mut source] {
            if let Some(map) = tree.as_object_mut() {
                map.retain(|_, value| value != "");
            }
        }
        json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": name, "namespace": namespace(about)},
            "involvedObject": involved, "source": source,
            "type": format!("{:?}", report.severity), "reason": report.reason, "message": message,
            "firstTimestamp": at, "lastTimestamp": at, "count": 1,
            "reportingComponent": self.component, "reportingInstance": self.host,
        })
    }
}

/// Events about cluster-scoped objects live in `default`.
fn namespace(about: &Involved) -> &str {
    if about.namespace.is_empty() { "default" } else { &about.namespace }
}

enum Write {
    Create(Tree),
    Patch(Tree),
}

/// Tries again where trying again can help.
async fn persist(api: &dyn ResourceApi, key: &ObjectKey, write: &Write) -> Result<(), ApiError> {
    let mut delay = Duration::from_millis(100);
    let mut tries = 1;
    loop {
        let result = match write {
            Write::Create(event) => api.create(&EVENTS, key, "", event.clone()).await,
            Write::Patch(patch) => api.patch(&EVENTS, key, "", Patch::Merge(patch.clone())).await,
        };
        match result {
            Err(e) if is_passing(e.reason) && tries < EVENT_TRIES => tokio::time::sleep(delay).await,
            result => return result.map(|_| ()),
        }
        delay *= 4;
        tries += 1;
    }
}

fn is_passing(reason: Reason) -> bool {
    matches!(reason, Reason::Timeout | Reason::ServiceUnavailable | Reason::TooManyRequests | Reason::InternalError)
}

fn log_lost(report: &Report, error: &ApiError) {
    // A namespace that is being deleted takes no more events; that is no news.
    if error.reason == Reason::Forbidden {
        debug!(name = report.about.name, reason = report.reason, %error, "an event was refused");
    } else {
        warn!(name = report.about.name, reason = report.reason, message = report.message, %error, "an event is lost");
    }
}
