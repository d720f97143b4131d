//! Events about pods for the API: best effort, bounded, repeats counted instead of repeated.

use crate::limits;
use crate::link::Link;
use coracle_proto::resource::EVENTS;
use coracle_proto::{ObjectKey, Tree, time};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use std::collections::{HashMap, VecDeque};
use tokio::sync::mpsc;

/// What an event says, without time and count.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    namespace: String,
    name: String,
    uid: String,
    /// e.g. `spec.containers{web}`; empty: the pod as a whole.
    field_path: String,
    warning: bool,
    reason: &'static str,
    message: String,
}

impl Event {
    pub fn about(pod: &Pod, warning: bool, reason: &'static str, message: impl Into<String>) -> Self {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Self {
            namespace: text(&pod.metadata.namespace),
            name: text(&pod.metadata.name),
            uid: text(&pod.metadata.uid),
            field_path: String::new(),
            warning,
            reason,
            message: message.into(),
        }
    }

    /// About one of its containers.
    pub fn of_container(mut self, pod: &Pod, container: &str) -> Self {
        let init = pod.spec.iter().flat_map(|s| s.init_containers.iter().flatten()).any(|c| c.name == container);
        let list = if init { "initContainers" } else { "containers" };
        self.field_path = format!("spec.{list}{{{container}}}");
        self
    }

    fn render(&self, node: &str, object: &str, now: Timestamp) -> Tree {
        let mut involved = json!({
            "kind": "Pod", "apiVersion": "v1", "namespace": self.namespace, "name": self.name, "uid": self.uid,
        });
        if !self.field_path.is_empty() {
            involved["fieldPath"] = json!(self.field_path);
        }
        json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": object, "namespace": self.namespace},
            "involvedObject": involved, "reason": self.reason, "message": self.message,
            "type": if self.warning { "Warning" } else { "Normal" }, "count": 1,
            "source": {"component": "kubelet", "host": node},
            "reportingComponent": "kubelet", "reportingInstance": node,
            "firstTimestamp": time::render(now), "lastTimestamp": time::render(now),
        })
    }
}

#[derive(Clone)]
pub struct Events {
    queue: mpsc::Sender<Event>,
}

impl Events {
    pub fn start(link: Link, node: String) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, events) = mpsc::channel(limits::EVENTS_QUEUE);
        (Self { queue }, send_all(link, node, events))
    }

    /// Never waits: where the queue is full the event is lost.
    pub fn emit(&self, event: Event) {
        if let Err(error) = self.queue.try_send(event) {
            tracing::debug!(%error, "an event was dropped");
        }
    }
}

async fn send_all(link: Link, node: String, mut events: mpsc::Receiver<Event>) {
    let mut seen = Seen::default();
    while let Some(event) = events.recv().await {
        let now = Timestamp::now();
        let namespace = event.namespace.clone();
        let (object, count) = seen.count(&event, now);
        if !seen.is_due(&event, now) {
            continue;
        }
        let sent = if count == 1 {
            let body = event.render(&node, &object, now);
            link.create(&EVENTS, &ObjectKey::new(namespace, ""), "", &body).await
        } else {
            let patch = json!({"count": count, "lastTimestamp": time::render(now)});
            link.patch(&EVENTS, &ObjectKey::new(namespace, object), "", &patch).await
        };
        if let Err(error) = sent {
            seen.forget(&event);
            tracing::debug!(%error, reason = event.reason, "an event could not be sent");
        }
    }
}

/// What is known of one event.
struct Count {
    /// The API's name of it.
    object: String,
    times: u32,
    sent: Timestamp,
}

/// How often each event happened; the oldest are forgotten.
#[derive(Default)]
struct Seen {
    known: HashMap<Event, Count>,
    order: VecDeque<Event>,
}

impl Seen {
    fn count(&mut self, event: &Event, now: Timestamp) -> (String, u32) {
        if let Some(count) = self.known.get_mut(event) {
            count.times += 1;
            return (count.object.clone(), count.times);
        }
        if self.order.len() >= limits::EVENTS_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        let object = object_name(&event.name, now);
        let sent = Timestamp::UNIX_EPOCH;
        self.known.insert(event.clone(), Count { object: object.clone(), times: 1, sent });
        self.order.push_back(event.clone());
        (object, 1)
    }

    /// What repeats often is told now and then: a probe that fails every second is no news.
    fn is_due(&mut self, event: &Event, now: Timestamp) -> bool {
        let Some(count) = self.known.get_mut(event) else { return false };
        let quiet = now.duration_since(count.sent).unsigned_abs();
        let due = count.times <= limits::EVENTS_BURST || quiet >= limits::EVENTS_QUIET;
        if due {
            count.sent = now;
        }
        due
    }

    fn forget(&mut self, event: &Event) {
        self.known.remove(event);
        self.order.retain(|known| known != event);
    }
}

/// The pod's name and the time; the name is shortened so that both stay within the length names may have.
fn object_name(pod: &str, now: Timestamp) -> String {
    let stem = pod.get(..pod.len().min(limits::EVENT_STEM_MAX)).unwrap_or_default().trim_end_matches(['.', '-']);
    format!("{stem}.{:016x}", now.as_nanosecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(message: &str) -> Event {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "d", "uid": "u"},
            "spec": {"containers": [{"name": "c"}], "initContainers": [{"name": "i"}]},
        }))
        .expect("a pod");
        Event::about(&pod, false, "Pulled", message).of_container(&pod, "i")
    }

    #[test]
    fn repeats_are_counted_and_the_oldest_forgotten() {
        let mut seen = Seen::default();
        let now = Timestamp::UNIX_EPOCH;
        let (name, count) = seen.count(&event("a"), now);
        assert_eq!(count, 1);
        assert_eq!(seen.count(&event("a"), now), (name, 2));
        for n in 0..limits::EVENTS_REMEMBERED {
            seen.count(&event(&n.to_string()), now);
        }
        assert_eq!(seen.count(&event("a"), now).1, 1);
        assert!(seen.order.len() <= limits::EVENTS_REMEMBERED && seen.known.len() == seen.order.len());
    }

    #[test]
    fn a_long_name_is_shortened() {
        let long = format!("{}-{}", "a".repeat(limits::EVENT_STEM_MAX - 1), "b".repeat(20));
        let name = object_name(&long, Timestamp::MAX);
        assert!(name.len() <= 253 && name.starts_with(&format!("{}.", "a".repeat(limits::EVENT_STEM_MAX - 1))));
        assert_eq!(object_name("p", Timestamp::UNIX_EPOCH), "p.0000000000000000");
    }

    #[test]
    fn what_repeats_often_is_told_now_and_then() {
        let mut seen = Seen::default();
        let mut told = 0;
        for second in 0..600 {
            let now = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(second + 1000);
            seen.count(&event("a"), now);
            told += u32::from(seen.is_due(&event("a"), now));
        }
        assert_eq!(told, limits::EVENTS_BURST + 9);
    }

    #[test]
    fn the_object_names_the_container() {
        let body = event("m").render("n", "p.1", Timestamp::UNIX_EPOCH);
        assert_eq!(body["involvedObject"]["fieldPath"], "spec.initContainers{i}");
        assert_eq!(body["source"], json!({"component": "kubelet", "host": "n"}));
    }
}
