//! What Docker says of a container, in the trait's terms. Pure.

use super::labels::{self, ContainerRecord, Ours};
use crate::{Container, ContainerId, Sandbox, SandboxId, SandboxSpec, State};
use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum as Status};
use jiff::Timestamp;
use std::path::PathBuf;

/// `None` where it is not one of our sandboxes.
pub fn sandbox(inspect: &ContainerInspectResponse) -> Option<(Sandbox, SandboxSpec)> {
    let Ours::Sandbox(spec) = labels::read(inspect.config.as_ref()?.labels.as_ref()?)? else { return None };
    let state = inspect.state.as_ref();
    let pid = state.filter(|state| state.running == Some(true)).and_then(|state| state.pid).filter(|pid| *pid > 0);
    let sandbox = Sandbox {
        id: SandboxId(inspect.id.clone()?),
        pod: spec.pod.clone(),
        netns: pid.filter(|_| !spec.host_network).map(|pid| PathBuf::from(format!("/proc/{pid}/ns/net"))),
        created_at: time(inspect.created.as_deref()).unwrap_or_default(),
        ready: pid.is_some(),
    };
    Some((sandbox, *spec))
}

/// `None` where it is not one of our pods' containers.
pub fn container(inspect: &ContainerInspectResponse) -> Option<(Container, ContainerRecord)> {
    let Ours::Container(record) = labels::read(inspect.config.as_ref()?.labels.as_ref()?)? else { return None };
    let created_at = time(inspect.created.as_deref()).unwrap_or_default();
    let container = Container {
        id: ContainerId(inspect.id.clone()?),
        sandbox: record.sandbox.clone(),
        pod: record.pod.clone(),
        name: record.name.clone(),
        attempt: record.attempt,
        image: record.image.clone(),
        image_id: record.image_id.clone(),
        labels: record.labels.clone(),
        created_at,
        state: state(inspect.state.as_ref(), created_at),
    };
    Some((container, *record))
}

fn state(state: Option<&ContainerState>, created_at: Timestamp) -> State {
    let Some(state) = state else { return State::Created };
    let started_at = time(state.started_at.as_deref());
    let message = without_noise(state.error.as_deref().unwrap_or_default());
    match state.status {
        Some(Status::RUNNING | Status::PAUSED | Status::RESTARTING | Status::STOPPING) => State::Running {
            started_at: started_at.unwrap_or(created_at),
            pid: state.pid.and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default(),
        },
        // A start that failed leaves it "created", with the reason.
        Some(Status::CREATED) | Some(Status::EMPTY) | None if message.is_empty() => State::Created,
        _ => {
            let finished_at = time(state.finished_at.as_deref()).or(started_at).unwrap_or(created_at);
            let exit_code = state.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(255);
            State::Exited {
                // Docker may note the start of a short life after its end.
                started_at: started_at.map(|at| at.min(finished_at)),
                finished_at,
                exit_code: if started_at.is_some() { exit_code } else { NEVER_STARTED },
                signal: ended_by(exit_code).filter(|_| started_at.is_some()),
                oom_killed: state.oom_killed == Some(true),
                message,
            }
        }
    }
}

/// As Kubernetes reports a container that could not be started.
const NEVER_STARTED: i32 = 128;

/// Docker ends what its lower layers said with the name of a class of errors.
pub fn without_noise(message: &str) -> String {
    message.trim().trim_end_matches(": unknown").to_owned()
}

/// Docker folds the signal into the code. A program that exits with such a code by itself cannot be told apart.
fn ended_by(exit_code: i32) -> Option<i32> {
    (129..=192).contains(&exit_code).then(|| exit_code - 128)
}

/// Docker writes year 1 for "never".
pub fn time(text: Option<&str>) -> Option<Timestamp> {
    let time: Timestamp = text?.parse().ok()?;
    (time > Timestamp::UNIX_EPOCH).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_containers() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let never = "0001-01-01T00:00:00Z";
        let docker = |status, code, error: &str, started: &str, finished: &str| {
            let found = ContainerState {
                status: Some(status),
                exit_code: Some(code),
                error: Some(error.to_owned()),
                started_at: Some(started.to_owned()),
                finished_at: Some(finished.to_owned()),
                pid: Some(42),
                ..ContainerState::default()
            };
            state(Some(&found), at(5))
        };
        let exited = |started_at, finished_at, exit_code, signal, message: &str| State::Exited {
            started_at,
            finished_at,
            exit_code,
            signal,
            oom_killed: false,
            message: message.to_owned(),
        };
        let (one, two) = ("1970-01-01T00:00:10Z", "1970-01-01T00:00:20Z");
        assert_eq!(docker(Status::CREATED, 0, "", never, never), State::Created);
        assert_eq!(docker(Status::RUNNING, 0, "", one, never), State::Running { started_at: at(10), pid: 42 });
        assert_eq!(docker(Status::EXITED, 3, "", two, one), exited(Some(at(10)), at(10), 3, None, ""));
        assert_eq!(docker(Status::EXITED, 3, "", one, two), exited(Some(at(10)), at(20), 3, None, ""));
        assert_eq!(docker(Status::EXITED, 143, "", one, two), exited(Some(at(10)), at(20), 143, Some(15), ""));
        assert_eq!(
            docker(Status::CREATED, 127, "no such file: unknown", never, never),
            exited(None, at(5), 128, None, "no such file")
        );
    }
}
