//! The informer against a scripted API: what lists and watches say is exactly what the test says.

use async_trait::async_trait;
use coracle_client::{DeleteOptions, Informer, Meta, Patch, ResourceApi, WatchStream};
use coracle_proto::resource::CONFIG_MAPS;
use coracle_proto::{ApiError, ListOptions, Object, ObjectKey, ObjectList, Resource, Tree, WatchEvent};
use futures::StreamExt;
use serde_json::json;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

type Events = mpsc::UnboundedReceiver<Result<WatchEvent, ApiError>>;

/// Answers lists and watches in the order they were scripted; then it fails.
#[derive(Default)]
struct Script {
    lists: Mutex<VecDeque<ObjectList>>,
    watches: Mutex<VecDeque<Events>>,
    /// The revision each watch started from.
    watched_from: Mutex<Vec<Option<u64>>>,
    /// What was written to events: (verb, body).
    written: Mutex<Vec<(&'static str, Tree)>>,
    /// Writes that fail before one succeeds.
    failing: Mutex<u32>,
}

impl Script {
    fn list(self: &Arc<Self>, revision: u64, items: Vec<Object>) {
        let list = ObjectList { revision, items, ..ObjectList::default() };
        self.lists.lock().expect("unpoisoned").push_back(list);
    }

    fn watch(self: &Arc<Self>) -> mpsc::UnboundedSender<Result<WatchEvent, ApiError>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.watches.lock().expect("unpoisoned").push_back(receiver);
        sender
    }

    fn write(&self, verb: &'static str, body: Tree) -> Result<Object, ApiError> {
        let mut failing = self.failing.lock().expect("unpoisoned");
        if *failing > 0 {
            *failing -= 1;
            return Err(ApiError::timeout("later"));
        }
        self.written.lock().expect("unpoisoned").push((verb, body.clone()));
        Ok(Object { revision: 1, json: body.to_string().into() })
    }

    fn written(&self) -> Vec<(&'static str, Tree)> {
        self.written.lock().expect("unpoisoned").clone()
    }
}

#[async_trait]
impl ResourceApi for Script {
    async fn get(&self, resource: &Resource, key: &ObjectKey) -> Result<Object, ApiError> {
        Err(ApiError::not_found(resource, &key.name))
    }

    async fn list(&self, _: &Resource, _: &ListOptions) -> Result<ObjectList, ApiError> {
        let list = self.lists.lock().expect("unpoisoned").pop_front();
        list.ok_or_else(|| ApiError::unavailable("no list is scripted"))
    }

    async fn watch(&self, _: &Resource, _: &ListOptions, from: Option<u64>) -> Result<WatchStream, ApiError> {
        let events = self.watches.lock().expect("unpoisoned").pop_front();
        let events = events.ok_or_else(|| ApiError::unavailable("no watch is scripted"))?;
        self.watched_from.lock().expect("unpoisoned").push(from);
        Ok(futures::stream::unfold(events, |mut e| async { e.recv().await.map(|event| (event, e)) }).boxed())
    }

    async fn create(&self, _: &Resource, _: &ObjectKey, _: &str, body: Tree) -> Result<Object, ApiError> {
        self.write("create", body)
    }

    async fn update(&self, _: &Resource, _: &ObjectKey, _: &str, body: Tree) -> Result<Object, ApiError> {
        self.write("update", body)
    }

    async fn patch(&self, _: &Resource, _: &ObjectKey, _: &str, patch: Patch) -> Result<Object, ApiError> {
        match patch {
            Patch::Json(body) | Patch::Merge(body) | Patch::Strategic(body) => self.write("patch", body),
        }
    }

    async fn delete(&self, resource: &Resource, key: &ObjectKey, _: &DeleteOptions) -> Result<Object, ApiError> {
        Err(ApiError::not_found(resource, &key.name))
    }
}

fn object(name: &str, revision: u64, owner: Option<&str>) -> Object {
    let owners: Vec<Tree> = owner.iter().map(|uid| json!({"uid": uid, "controller": true})).collect();
    let tree = json!({"metadata": {
        "name": name, "namespace": "ns", "uid": name, "resourceVersion": revision.to_string(), "ownerReferences": owners,
    }});
    Object { revision, json: tree.to_string().into() }
}

struct Watching {
    script: Arc<Script>,
    informer: Arc<Informer<Meta>>,
    told: Arc<Mutex<Vec<String>>>,
    _stop: tokio_util::sync::DropGuard,
}

fn start(script: Arc<Script>) -> Watching {
    let informer = Informer::<Meta>::new(script.clone(), CONFIG_MAPS, ListOptions::default());
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = told.clone();
    informer.subscribe(move |delta| {
        let revision = |side: &Option<Arc<Meta>>| side.as_ref().map_or("-".into(), |m| m.revision.to_string());
        let line = format!("{} {}→{}", delta.key.name, revision(&delta.old), revision(&delta.new));
        log.lock().expect("unpoisoned").push(line);
    });
    let stop = CancellationToken::new();
    drop(informer.start(stop.clone()));
    Watching { script, informer, told, _stop: stop.drop_guard() }
}

impl Watching {
    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().expect("unpoisoned"))
    }

    fn names(&self) -> Vec<String> {
        self.informer.list().iter().map(|m| m.name().to_owned()).collect()
    }

    fn from(&self) -> Vec<Option<u64>> {
        self.script.watched_from.lock().expect("unpoisoned").clone()
    }
}

#[tokio::test(start_paused = true)]
async fn lists_then_follows_and_tells_every_change_with_both_sides() {
    let script = Arc::new(Script::default());
    script.list(10, vec![object("a", 3, Some("o")), object("b", 7, None)]);
    let events = script.watch();
    let w = start(script);
    w.informer.synced().await;
    assert_eq!(w.told(), ["a -→3", "b -→7"]);
    assert_eq!(w.from(), [Some(10)]);
    for event in [
        WatchEvent::Modified(object("b", 11, Some("o"))),
        WatchEvent::Added(object("c", 12, None)),
        WatchEvent::Deleted(object("a", 13, Some("o"))),
        WatchEvent::Bookmark(20),
    ] {
        events.send(Ok(event)).expect("watched");
    }
    w.informer.reached(20).await;
    assert_eq!(w.told(), ["b 7→11", "c -→12", "a 3→-"]);
    assert_eq!(w.names(), ["b", "c"]);
    let owned: Vec<_> = w.informer.owned_by("o").iter().map(|m| m.name().to_owned()).collect();
    assert_eq!(owned, ["b"], "the index follows");
    assert_eq!(w.informer.object(&ObjectKey::new("ns", "b")).map(|o| o.revision), Some(11));
    assert!(w.informer.in_namespace("other").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_late_subscriber_hears_what_is_there_and_then_every_change_once() {
    let script = Arc::new(Script::default());
    script.list(1, vec![object("a", 1, None)]);
    let events = script.watch();
    let w = start(script);
    w.informer.synced().await;
    let heard: Arc<Mutex<Vec<u64>>> = Arc::default();
    let log = heard.clone();
    w.informer.subscribe(move |delta| log.lock().expect("unpoisoned").push(delta.latest().revision));
    events.send(Ok(WatchEvent::Modified(object("a", 2, None)))).expect("watched");
    w.informer.reached(2).await;
    assert_eq!(*heard.lock().expect("unpoisoned"), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_broken_watch_resumes_and_repeated_events_are_not_told_again() {
    let script = Arc::new(Script::default());
    script.list(5, vec![object("a", 5, None)]);
    let (first, second) = (script.watch(), script.watch());
    let w = start(script);
    w.informer.synced().await;
    first.send(Ok(WatchEvent::Modified(object("a", 8, None)))).expect("watched");
    first.send(Err(ApiError::unavailable("the connection broke"))).expect("watched");
    w.informer.reached(8).await;
    second.send(Ok(WatchEvent::Modified(object("a", 8, None)))).expect("kept for the next watch");
    second.send(Ok(WatchEvent::Deleted(object("a", 7, None)))).expect("an old deletion");
    second.send(Ok(WatchEvent::Modified(object("a", 9, None)))).expect("kept");
    w.informer.reached(9).await;
    assert_eq!(w.told(), ["a -→5", "a 5→8", "a 8→9"]);
    assert_eq!(w.from(), [Some(5), Some(8)]);
}

#[tokio::test(start_paused = true)]
async fn too_old_means_list_again_and_what_vanished_meanwhile_is_told() {
    let script = Arc::new(Script::default());
    script.list(5, vec![object("a", 4, None), object("b", 5, None)]);
    let first = script.watch();
    script.list(50, vec![object("b", 30, None), object("c", 40, None)]);
    let _second = script.watch();
    let w = start(script);
    w.informer.synced().await;
    w.told();
    first.send(Err(ApiError::expired("too old resource version"))).expect("watched");
    w.informer.reached(50).await;
    assert_eq!(w.told(), ["a 4→-", "b 5→30", "c -→40"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(w.from(), [Some(5), Some(50)]);
}

#[tokio::test(start_paused = true)]
async fn an_api_that_is_not_there_yet_is_waited_for_and_bad_objects_are_left_out() {
    let script = Arc::new(Script::default());
    let w = start(script.clone());
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(!w.informer.is_synced());
    let bad = Object { revision: 2, json: "{\"metadata\": 5}".into() };
    script.list(3, vec![object("a", 1, None), bad]);
    let _events = script.watch();
    tokio::time::timeout(Duration::from_secs(31), w.informer.synced()).await.expect("tried again within the bound");
    assert_eq!(w.names(), ["a"]);
}

mod recorder {
    use super::*;
    use coracle_client::{Clock, EventRecorder, Involved};
    use jiff::Timestamp;

    fn about(name: &str) -> Involved {
        Involved {
            kind: "Pod".into(),
            namespace: "ns".into(),
            name: name.into(),
            uid: name.into(),
            ..Involved::default()
        }
    }

    fn recorder(script: &Arc<Script>) -> EventRecorder {
        let clock = Clock::starting_at(Timestamp::from_second(1_767_225_600).expect("in range"));
        EventRecorder::start(script.clone(), "test-controller", clock)
    }

    async fn settled() {
        tokio::time::sleep(Duration::from_secs(20)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_repeated_event_is_counted() {
        let script = Arc::new(Script::default());
        let events = recorder(&script);
        events.warning(&about("p"), "BackOff", "again");
        tokio::time::sleep(Duration::from_secs(5)).await;
        events.warning(&about("p"), "BackOff", "again");
        settled().await;
        let written = script.written();
        let (verb, event) = &written[0];
        assert_eq!(*verb, "create");
        assert_eq!(
            (&event["type"], &event["reason"], &event["message"]),
            (&json!("Warning"), &json!("BackOff"), &json!("again"))
        );
        assert_eq!((&event["count"], &event["source"]), (&json!(1), &json!({"component": "test-controller"})));
        assert_eq!(event["reportingComponent"], "test-controller");
        assert_eq!(
            (&event["firstTimestamp"], &event["lastTimestamp"]),
            (&json!("2026-01-01T00:00:00Z"), &json!("2026-01-01T00:00:00Z"))
        );
        assert_eq!(event["involvedObject"], json!({"kind": "Pod", "namespace": "ns", "name": "p", "uid": "p"}));
        assert!(event["metadata"]["name"].as_str().is_some_and(|n| n.starts_with("p.")));
        assert_eq!(
            written[1],
            ("patch", json!({"count": 2, "message": "again", "lastTimestamp": "2026-01-01T00:00:05Z"}))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn many_that_are_alike_are_combined_and_a_flood_is_cut() {
        let script = Arc::new(Script::default());
        let events = recorder(&script);
        for n in 0..100 {
            events.normal(&about("p"), "Created", format!("Created pod {n}"));
        }
        events.normal(&about("other"), "Created", "not affected");
        settled().await;
        let written = script.written();
        let created: Vec<_> = written.iter().filter(|(verb, _)| *verb == "create").collect();
        let combined = created
            .iter()
            .filter(|(_, e)| e["message"].as_str().is_some_and(|m| m.starts_with("(combined from similar events): ")))
            .count();
        assert_eq!((created.len(), combined), (11, 1), "nine alone, one combined, one of the other object");
        assert_eq!(written.len(), 26, "a burst of 25, and the other object's");
    }

    #[tokio::test(start_paused = true)]
    async fn passing_failures_are_tried_again() {
        let script = Arc::new(Script::default());
        *script.failing.lock().expect("unpoisoned") = 2;
        let events = recorder(&script);
        events.normal(&about("p"), "Started", "it did");
        settled().await;
        assert_eq!(script.written().len(), 1);
        let node = Involved { kind: "Node".into(), name: "n".into(), ..Involved::default() };
        events.normal(&node, "NodeReady", "it is");
        settled().await;
        assert_eq!(script.written()[1].1["metadata"]["namespace"], "default", "cluster-scoped objects' events");
    }
}
