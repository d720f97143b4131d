//! What we write on our containers, and read again after a restart.

use crate::{ContainerSpec, PodIdentity, SandboxId, SandboxSpec};
use std::collections::{BTreeMap, HashMap};

/// Which agent's it is: several may share one Docker.
pub const OWNER: &str = "coracle.owner";
pub const SANDBOX: &str = "coracle.sandbox";
pub const POD_UID: &str = "io.kubernetes.pod.uid";
const KIND: &str = "coracle.kind";
const RECORD: &str = "coracle.record";

/// All that the trait wants to know of a container and Docker does not keep.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ContainerRecord {
    pub pod: PodIdentity,
    pub sandbox: SandboxId,
    pub name: String,
    pub attempt: u32,
    pub image: String,
    pub image_id: String,
    pub labels: BTreeMap<String, String>,
    pub oom_score_adj: i32,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Ours {
    Sandbox(Box<SandboxSpec>),
    Container(Box<ContainerRecord>),
}

pub fn of_sandbox(owner: &str, spec: &SandboxSpec) -> HashMap<String, String> {
    let record = serde_json::to_string(spec).expect("a specification is plain data");
    let mut labels = for_people(&spec.pod, "POD");
    labels.extend([
        (OWNER.to_owned(), owner.to_owned()),
        (KIND.to_owned(), "sandbox".to_owned()),
        (RECORD.to_owned(), record),
    ]);
    labels
}

pub fn of_container(
    owner: &str,
    sandbox: &SandboxId,
    pod: &PodIdentity,
    spec: &ContainerSpec,
) -> HashMap<String, String> {
    let record = ContainerRecord {
        pod: pod.clone(),
        sandbox: sandbox.clone(),
        name: spec.name.clone(),
        attempt: spec.attempt,
        image: spec.image.clone(),
        image_id: spec.image_id.clone(),
        labels: spec.labels.clone(),
        oom_score_adj: spec.resources.oom_score_adj,
    };
    let record = serde_json::to_string(&record).expect("a record is plain data");
    let mut labels = for_people(pod, &spec.name);
    labels.extend([
        (OWNER.to_owned(), owner.to_owned()),
        (KIND.to_owned(), "container".to_owned()),
        (SANDBOX.to_owned(), sandbox.0.clone()),
        (RECORD.to_owned(), record),
    ]);
    labels
}

/// `None` for what is not ours or was tampered with.
pub fn read(labels: &HashMap<String, String>) -> Option<Ours> {
    let record = labels.get(RECORD)?;
    match labels.get(KIND)?.as_str() {
        "sandbox" => serde_json::from_str(record).ok().map(Ours::Sandbox),
        "container" => serde_json::from_str(record).ok().map(Ours::Container),
        _ => None,
    }
}

/// The names that Kubernetes' tools look for.
fn for_people(pod: &PodIdentity, container: &str) -> HashMap<String, String> {
    HashMap::from([
        ("io.kubernetes.pod.namespace".to_owned(), pod.namespace.clone()),
        ("io.kubernetes.pod.name".to_owned(), pod.name.clone()),
        (POD_UID.to_owned(), pod.uid.clone()),
        ("io.kubernetes.container.name".to_owned(), container.to_owned()),
    ])
}
