//! What a worker has others do meanwhile: each runs in a task of its own and ends in one [`Done`].

use super::context::Context;
use super::sandbox;
use super::start::StartFailure;
use super::state::SandboxFacts;
use crate::limits;
use crate::link::CallError;
use crate::objects::{Held, Lookup, ObjectId, Objects};
use crate::volumes::{Token, Tokens, VolumeFailure, VolumeInputs, set_up, tokens_of};
use coracle_proto::ObjectKey;
use coracle_proto::resource::PODS;
use coracle_runtime::{ContainerId, Sandbox, SandboxId};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How something ended.
pub enum Done {
    Sandbox(Result<SandboxFacts, String>),
    /// Of a sandbox that was there already.
    Reconnected(Result<SandboxFacts, String>),
    Replaced(Result<(), String>),
    Volumes(Result<Tokens, VolumeFailure>),
    Started {
        name: String,
        result: Result<Option<ContainerId>, StartFailure>,
    },
    Stopped {
        name: String,
        id: ContainerId,
        result: Result<(), coracle_runtime::RuntimeError>,
    },
    Words {
        name: String,
        id: ContainerId,
        text: String,
    },
    Collected {
        name: String,
        id: ContainerId,
    },
    Withdrawn,
    Released(Result<(), String>),
    TornDown(Result<(), String>),
    Deleted(Result<(), CallError>),
}

/// For the log: without what containers wrote.
impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sandbox(result) | Self::Reconnected(result) => write!(f, "Sandbox({result:?})"),
            Self::Replaced(result) => write!(f, "Replaced({result:?})"),
            Self::Volumes(result) => write!(f, "Volumes({:?})", result.as_ref().map(|_| ())),
            Self::Started { name, result } => write!(f, "Started({name}, {result:?})"),
            Self::Stopped { name, result, .. } => write!(f, "Stopped({name}, {result:?})"),
            Self::Words { name, .. } => write!(f, "Words({name})"),
            Self::Collected { name, .. } => write!(f, "Collected({name})"),
            Self::Withdrawn => f.write_str("Withdrawn"),
            Self::Released(result) => write!(f, "Released({result:?})"),
            Self::TornDown(result) => write!(f, "TornDown({result:?})"),
            Self::Deleted(result) => write!(f, "Deleted({result:?})"),
        }
    }
}

pub type HeldObjects = Vec<(ObjectId, Held)>;

/// What is known now.
pub fn known(held: &HeldObjects) -> Objects {
    held.iter().map(|(id, held)| (id.clone(), held.get())).collect()
}

/// The control plane usually says at once; a bound so that the pod's events say what is missing.
const OBJECTS_WAIT: Duration = Duration::from_secs(10);

pub async fn wait_for_objects(held: &mut HeldObjects) {
    let all = async {
        for (_, held) in held.iter_mut() {
            while held.get() == Lookup::Unknown {
                held.changed().await;
            }
        }
    };
    if tokio::time::timeout(OBJECTS_WAIT, all).await.is_err() {
        tracing::debug!("the control plane has not told all objects that a pod needs");
    }
}

pub async fn prepare_sandbox(context: Arc<Context>, pod: Arc<Pod>) -> Done {
    Done::Sandbox(sandbox::prepare(&context, &pod).await)
}

pub async fn reconnect(context: Arc<Context>, pod: Arc<Pod>, found: Sandbox) -> Done {
    Done::Reconnected(sandbox::connect(&context, &pod, &found).await)
}

pub async fn replace(context: Arc<Context>, id: SandboxId, uid: String) -> Done {
    let removed = async {
        context.runtime.remove_sandbox(&id).await.map_err(|e| e.to_string())?;
        context.network.detach(&uid).await.map_err(|e| e.to_string())
    };
    Done::Replaced(removed.await)
}

/// Sets volumes up, or brings them up to date.
pub async fn volumes(
    context: Arc<Context>,
    pod: Arc<Pod>,
    ip: Option<std::net::Ipv4Addr>,
    mut held: HeldObjects,
    tokens: Tokens,
) -> Done {
    wait_for_objects(&mut held).await;
    let tokens = match renewed(&context, &pod, tokens).await {
        Ok(tokens) => tokens,
        Err(failure) => return Done::Volumes(Err(failure)),
    };
    let folder = context.folder(pod.metadata.uid.as_deref().unwrap_or_default());
    let done = tokio::task::spawn_blocking(move || {
        let (objects, node) = (known(&held), context.node_context(ip));
        let inputs = VolumeInputs { pod: &pod, node: &node, objects: &objects, tokens: &tokens };
        set_up(&folder, &inputs).map(|()| tokens)
    });
    let interrupted = |e: tokio::task::JoinError| VolumeFailure { volume: String::new(), why: e.to_string() };
    Done::Volumes(done.await.unwrap_or_else(|e| Err(interrupted(e))))
}

/// Tokens that are due are asked for anew; one that still holds is kept where that fails.
async fn renewed(context: &Context, pod: &Pod, mut tokens: Tokens) -> Result<Tokens, VolumeFailure> {
    let now = Timestamp::now();
    for key in tokens_of(pod) {
        if tokens.get(&key).is_some_and(|t| t.renew_at > now) {
            continue;
        }
        match (Token::request(&context.link, pod, &key, now).await, tokens.get_mut(&key)) {
            (Ok(token), _) => drop(tokens.insert(key, token)),
            (Err(error), Some(old)) => {
                tracing::warn!(%error, account = key.account, "a token could not be renewed");
                old.renew_at = now.saturating_add(limits::TOKEN_RETRY).unwrap_or(Timestamp::MAX);
            }
            (Err(error), None) => return Err(no_token(pod, &error)),
        }
    }
    Ok(tokens)
}

fn no_token(pod: &Pod, error: &CallError) -> VolumeFailure {
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    let mut with_token = volumes.filter(|v| {
        let sources = v.projected.iter().flat_map(|p| p.sources.iter().flatten());
        sources.into_iter().any(|s| s.service_account_token.is_some())
    });
    let volume = with_token.next().map(|v| v.name.clone()).unwrap_or_default();
    VolumeFailure { volume, why: format!("failed to fetch token: {error}") }
}

/// Connections that are on the way get there; then nobody sends new ones.
pub async fn withdraw(context: Arc<Context>, uid: String, was_ready: bool) -> Done {
    context.services.withdraw(&uid).await;
    if was_ready {
        tokio::time::sleep(limits::WITHDRAW_SETTLE).await;
    }
    Done::Withdrawn
}

pub async fn release(context: Arc<Context>, uid: String) -> Done {
    Done::Released(sandbox::release(&context, &uid).await)
}

pub async fn tear_down(context: Arc<Context>, pod: Arc<Pod>, sandbox: Option<SandboxId>) -> Done {
    Done::TornDown(sandbox::tear_down(&context, &pod, sandbox.as_ref()).await)
}

/// The object goes only after its last status is in it.
pub async fn delete(context: Arc<Context>, pod: Arc<Pod>, flushed: impl Future<Output = ()>) -> Done {
    flushed.await;
    let metadata = &pod.metadata;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let key = ObjectKey::new(text(&metadata.namespace), text(&metadata.name));
    let deleted = context.link.delete_now(&PODS, &key, &text(&metadata.uid)).await;
    Done::Deleted(match deleted {
        // Gone already, or another pod of that name.
        Err(e) if e.is_not_found() || e.is_other_uid() => Ok(()),
        other => other,
    })
}
