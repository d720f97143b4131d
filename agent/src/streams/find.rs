//! Which container or sandbox a stream is about, and upstream's errors where there is none.

use super::Source;
use coracle_proto::ApiError;
use coracle_proto::resource::PODS;
use coracle_runtime::{Container, RuntimeError, Sandbox, State};
use k8s_openapi::api::core::v1::{ContainerStatus, PodStatus};

/// The pod a request names; an empty UID is any of that name.
pub struct Wanted<'a> {
    pub namespace: &'a str,
    pub pod: &'a str,
    pub uid: &'a str,
}

impl Wanted<'_> {
    fn is(&self, pod: &coracle_runtime::PodIdentity) -> bool {
        pod.namespace == self.namespace && pod.name == self.pod && (self.uid.is_empty() || pod.uid == self.uid)
    }
}

fn failed(error: &RuntimeError) -> ApiError {
    ApiError::internal(error)
}

/// All attempts of one container, the oldest first.
async fn attempts(source: &Source, wanted: &Wanted<'_>, container: &str) -> Result<Vec<Container>, ApiError> {
    let all = source.runtime.containers().await.map_err(|e| failed(&e))?;
    let mut attempts: Vec<Container> = all.into_iter().filter(|c| c.name == container && wanted.is(&c.pod)).collect();
    attempts.sort_by_key(|c| (c.attempt, c.created_at));
    Ok(attempts)
}

/// The attempt whose log is asked for.
pub async fn for_log(
    source: &Source,
    wanted: &Wanted<'_>,
    container: &str,
    previous: bool,
) -> Result<Container, ApiError> {
    let mut attempts = attempts(source, wanted, container).await?;
    attempts.retain(|c| c.state != State::Created);
    let status = attempts.last().map(|c| c.pod.uid.clone()).or_else(|| Some(wanted.uid.to_owned()));
    let status = status.and_then(|uid| source.statuses.get(&uid));
    choose(attempts, status.as_ref(), wanted.pod, container, previous).map_err(ApiError::bad_request)
}

/// The error is upstream's sentence.
fn choose(
    mut attempts: Vec<Container>,
    status: Option<&PodStatus>,
    pod: &str,
    container: &str,
    previous: bool,
) -> Result<Container, String> {
    let latest_ended = attempts.last().is_some_and(|c| matches!(c.state, State::Exited { .. }));
    let waits = status.and_then(|s| find(s, container)).and_then(|s| s.state.as_ref()?.waiting.as_ref());
    if previous {
        // While the next attempt is awaited, the last one is the previous one.
        if !(latest_ended && waits.is_some()) {
            attempts.pop();
        }
        return attempts
            .pop()
            .ok_or_else(|| format!("previous terminated container {container:?} in pod {pod:?} not found"));
    }
    let waiting = waits.and_then(|w| w.reason.as_deref());
    attempts.pop().ok_or_else(|| match waiting {
        Some("ErrImagePull") => {
            format!("container {container:?} in pod {pod:?} is waiting to start: image can't be pulled")
        }
        Some("ImagePullBackOff") => {
            format!("container {container:?} in pod {pod:?} is waiting to start: trying and failing to pull image")
        }
        Some(reason) => format!("container {container:?} in pod {pod:?} is waiting to start: {reason}"),
        None => format!("container {container:?} in pod {pod:?} is not available"),
    })
}

fn find<'a>(status: &'a PodStatus, container: &str) -> Option<&'a ContainerStatus> {
    let all = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    all.into_iter().find(|s| s.name == container)
}

/// The attempt that runs now.
pub async fn running(source: &Source, wanted: &Wanted<'_>, container: &str) -> Result<Container, ApiError> {
    let last = attempts(source, wanted, container).await?.pop();
    last.filter(|c| matches!(c.state, State::Running { .. })).ok_or_else(|| {
        let mut error = ApiError::not_found(&PODS, wanted.pod);
        error.message = format!("container not found ({container:?})");
        error
    })
}

pub async fn sandbox(source: &Source, wanted: &Wanted<'_>) -> Result<Sandbox, ApiError> {
    let all = source.runtime.sandboxes().await.map_err(|e| failed(&e))?;
    let found = all.into_iter().find(|s| s.ready && wanted.is(&s.pod));
    found.ok_or_else(|| ApiError::not_found(&PODS, wanted.pod))
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_runtime::{ContainerId, PodIdentity, SandboxId};
    use jiff::Timestamp;
    use serde_json::json;

    fn attempt(number: u32, running: bool) -> Container {
        let (pid, at) = (1, Timestamp::UNIX_EPOCH);
        let ended = State::Exited {
            started_at: Some(at),
            finished_at: at,
            exit_code: 1,
            signal: None,
            oom_killed: false,
            message: String::new(),
        };
        Container {
            id: ContainerId(format!("c{number}")),
            sandbox: SandboxId("s".into()),
            pod: PodIdentity { namespace: "d".into(), name: "p".into(), uid: "u".into() },
            name: "web".into(),
            attempt: number,
            image: String::new(),
            image_id: String::new(),
            labels: Default::default(),
            created_at: at,
            state: if running { State::Running { started_at: at, pid } } else { ended },
        }
    }

    #[test]
    fn which_attempt_and_which_error() {
        let waiting = |reason: &str| -> PodStatus {
            let state = json!({"waiting": {"reason": reason}});
            let status =
                json!({"name": "web", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state});
            serde_json::from_value(json!({"containerStatuses": [status]})).expect("a status")
        };
        let chosen = |attempts: Vec<Container>, status: Option<PodStatus>, previous| {
            choose(attempts, status.as_ref(), "p", "web", previous).map(|c| c.id.0)
        };
        let two = || vec![attempt(0, false), attempt(1, true)];
        assert_eq!(chosen(two(), None, false).as_deref(), Ok("c1"));
        assert_eq!(chosen(two(), None, true).as_deref(), Ok("c0"));
        let crashed = || vec![attempt(0, false), attempt(1, false)];
        assert_eq!(chosen(crashed(), Some(waiting("CrashLoopBackOff")), true).as_deref(), Ok("c1"));
        assert_eq!(chosen(crashed(), None, true).as_deref(), Ok("c0"));
        let none = |status, previous| chosen(vec![], status, previous).expect_err("there is none");
        assert_eq!(none(None, true), "previous terminated container \"web\" in pod \"p\" not found");
        let creating = none(Some(waiting("ContainerCreating")), false);
        assert_eq!(creating, "container \"web\" in pod \"p\" is waiting to start: ContainerCreating");
        let pulling = none(Some(waiting("ImagePullBackOff")), false);
        assert_eq!(pulling, "container \"web\" in pod \"p\" is waiting to start: trying and failing to pull image");
    }
}
