//! Taking over what an earlier agent left running.

use super::Worker;
use crate::pods::backoff::Backoff;
use crate::pods::env::container_named;
use crate::pods::ops;
use crate::pods::state::{ContainerState, Live, SandboxFacts, Setup};
use coracle_runtime::{Container, Sandbox, State as RunState};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as ApiContainer, ContainerStatus, PodStatus};

/// What the runtime had of a pod when the agent started.
#[derive(Clone, Debug, Default)]
pub struct Adopted {
    pub sandbox: Option<Sandbox>,
    pub containers: Vec<Container>,
}

impl Worker {
    pub(super) fn adopt(&mut self, adopted: Adopted) {
        self.state.started_at = self.status.start_time.as_ref().map(|t| t.0).or_else(|| Some(Timestamp::now()));
        for container in adopted.containers {
            let name = container.name.clone();
            self.state.containers.entry(name).or_default().observe(container);
        }
        for (name, container) in &mut self.state.containers {
            resume(container_named(&self.pod, name), container, &self.status);
            let ended = container.attempts.iter().filter(|c| matches!(c.state, RunState::Exited { .. }));
            let ended: Vec<_> = ended.cloned().collect();
            for attempt in ended {
                super::observe::read_words(&self.context, &self.pod, &attempt, &mut self.ops);
            }
        }
        if let Some(sandbox) = adopted.sandbox {
            let ip = self.status.pod_ip.as_ref().and_then(|ip| ip.parse().ok());
            let (id, netns, alive) = (sandbox.id.clone(), sandbox.netns.clone(), sandbox.ready);
            self.state.sandbox = Setup::Ready(SandboxFacts { id, ip, netns, alive });
            if alive && !self.frozen {
                self.ops.spawn(ops::reconnect(self.context.clone(), self.pod.clone(), sandbox));
            }
        }
    }
}

/// A container that kept running is as ready as the API was last told, until its probes say otherwise.
fn resume(spec: Option<&ApiContainer>, container: &mut ContainerState, status: &PodStatus) {
    let Some(last) = container.last().cloned() else { return };
    container.backoff = Backoff::resumed(last.attempt, last.created_at);
    if !container.is_running() {
        return;
    }
    let told = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    // Behind the runtime's scheme.
    let id = |told: &ContainerStatus| Some(told.container_id.as_ref()?.split_once("://")?.1.to_owned());
    let told = told.into_iter().find(|s| s.name == last.name && id(s).as_ref() == Some(&last.id.0));
    container.live = Live {
        id: Some(last.id),
        hooked: true,
        startup_passed: spec.is_none_or(|c| c.startup_probe.is_none()) || told.is_some_and(|s| s.started == Some(true)),
        passes: spec.is_none_or(|c| c.readiness_probe.is_none()) || told.is_some_and(|s| s.ready),
        kill: None,
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_runtime::{ContainerId, PodIdentity, SandboxId};
    use serde_json::json;

    #[test]
    fn a_running_container_keeps_what_was_told_of_it() {
        let pod = PodIdentity { namespace: "d".into(), name: "p".into(), uid: "u".into() };
        let state = RunState::Running { started_at: Timestamp::UNIX_EPOCH, pid: 1 };
        let container = Container {
            id: ContainerId("c1".into()),
            sandbox: SandboxId("s".into()),
            pod,
            name: "web".into(),
            attempt: 2,
            image: "i".into(),
            image_id: "sha256:1".into(),
            labels: Default::default(),
            created_at: Timestamp::UNIX_EPOCH,
            state,
        };
        let told = |id: &str| -> PodStatus {
            let status = json!({"name": "web", "image": "i", "imageID": "", "ready": true, "started": true,
                "restartCount": 2, "containerID": id});
            serde_json::from_value(json!({"containerStatuses": [status]})).expect("a status")
        };
        let probe = json!({"exec": {"command": ["true"]}});
        let spec = json!({"name": "web", "startupProbe": probe, "readinessProbe": probe});
        let spec: ApiContainer = serde_json::from_value(spec).expect("a container");
        for (id, ready) in [("coracle://c1", true), ("docker://c1", true), ("coracle://c0", false)] {
            let mut known = ContainerState::default();
            known.observe(container.clone());
            resume(Some(&spec), &mut known, &told(id));
            assert_eq!((known.is_ready(), known.is_started(), known.next_attempt), (ready, ready, 3), "{id}");
            assert_eq!(known.backoff.delay().as_secs(), 20);
        }
    }
}
