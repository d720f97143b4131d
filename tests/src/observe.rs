//! Everything a watch tells about one resource, kept in order, so that a test can judge every moment of it.

use crate::Kubectl;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::BufReader;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

/// All objects at one moment, by name.
pub type Moment = BTreeMap<String, Value>;

/// A running `kubectl get -w`. Ends when dropped.
pub struct Observation {
    child: Child,
    events: Arc<Mutex<Vec<Value>>>,
}

impl Observation {
    /// `what` are arguments of `kubectl get`, such as `pods -l app=web`.
    pub fn of(kubectl: &Kubectl, what: &[&str]) -> Self {
        let args = [&["get"], what, &["-w", "--output-watch-events", "-o", "json"]].concat();
        let mut child = kubectl.command(&args).stdout(Stdio::piped()).spawn().expect("kubectl starts");
        let events = Arc::new(Mutex::new(Vec::new()));
        let output = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let into = events.clone();
        std::thread::spawn(move || {
            // It ends with the process, perhaps in the middle of an event.
            for event in serde_json::Deserializer::from_reader(output).into_iter().map_while(Result::ok) {
                into.lock().expect("nobody panics holding it").push(event);
            }
        });
        Self { child, events }
    }

    /// Every moment so far, from the first at which `test` holds. Objects that were there before the watch come one by
    /// one, so its first moments are not what the world was.
    pub fn moments_since(&self, test: impl Fn(&Moment) -> bool) -> Vec<Moment> {
        let mut now = Moment::new();
        let mut moments = Vec::new();
        for event in self.events.lock().expect("nobody panics holding it").iter() {
            let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            match event["type"].as_str() {
                Some("ADDED" | "MODIFIED") => drop(now.insert(name, event["object"].clone())),
                Some("DELETED") => drop(now.remove(&name)),
                _ => panic!("the watch broke: {event}"),
            }
            if !moments.is_empty() || test(&now) {
                moments.push(now.clone());
            }
        }
        moments
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
