//! Starting and stopping the agent: its parts are made and connected here.

use crate::checkpoint::{Checkpoint, Kind};
use crate::config::AgentConfig;
use crate::error::AgentError;
use crate::events::Events;
use crate::limits;
use crate::link::Link;
use crate::node::{HostFacts, Keeper, NodeSpec};
use crate::objects::ObjectCache;
use crate::pods::{Context, Paths, PodSet, Pods, Statuses};
use crate::services::ServicesTask;
use crate::streams::{self, Source};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// The agent's entry point.
pub struct Agent;

/// A running agent. Dropping it stops the agent as [`AgentHandle::shutdown`] does, without waiting.
pub struct AgentHandle {
    ready: watch::Receiver<bool>,
    pods: Pods,
    tasks: JoinSet<()>,
    checkpoint: Checkpoint,
    data_dir: PathBuf,
}

impl Agent {
    /// Returns when the agent works, before the node is registered; see [`AgentHandle::ready`]. What an earlier agent
    /// on this data left running goes on running.
    pub async fn start(config: AgentConfig) -> Result<AgentHandle, AgentError> {
        let paths = make_folders(&config.data_dir)?;
        let checkpoint = Checkpoint::open(config.data_dir.join("checkpoint"))?;
        let host = HostFacts::read(&config.data_dir, &config.capacity)?;
        let link = Link::new(&config.server, &config.tls)?;
        let version = config.runtime.info().await?.version;
        let runtime_scheme = version.split_once("://").map_or(version.as_str(), |(scheme, _)| scheme).to_owned();
        let mut tasks = JoinSet::new();

        let (ready, is_ready) = watch::channel(false);
        let keeper = Keeper::new(link.clone(), config.runtime.clone(), node_spec(&config), host.clone(), ready);
        tasks.spawn(keeper.run());
        tasks.spawn(checkpoint.clone().run());
        let (events, sending) = Events::start(link.clone(), config.node_name.clone());
        tasks.spawn(sending);
        let (task, services) = ServicesTask::new(config.node_name.clone(), config.network.clone(), checkpoint.clone());
        let (told, slices) = (checkpoint.load(Kind::Service), checkpoint.load(Kind::EndpointSlice));
        tasks.spawn(task.run(link.clone(), told, slices));

        let statuses = Statuses::default();
        let source = Source { runtime: config.runtime.clone(), statuses: statuses.clone() };
        tasks.spawn(streams::serve(link.clone(), source));
        let context = Arc::new(Context {
            node_name: config.node_name,
            node_ip: config.node_ip,
            cluster: config.cluster,
            host,
            paths,
            cgroup: config.cgroup,
            runtime_scheme,
            runtime: config.runtime,
            network: config.network,
            objects: ObjectCache::new(link.clone(), checkpoint.clone()),
            link,
            services,
            events,
            statuses,
            checkpoint: checkpoint.clone(),
            pulls: Semaphore::new(limits::PULLS_MAX),
        });
        let (mut set, pods) = PodSet::new(context);
        set.adopt().await?;
        tasks.spawn(set.run());
        Ok(AgentHandle { ready: is_ready, pods, tasks, checkpoint, data_dir: config.data_dir })
    }
}

fn make_folders(data_dir: &Path) -> Result<Paths, AgentError> {
    use std::os::unix::fs::DirBuilderExt;
    let paths = Paths { pods: data_dir.join("pods"), seccomp: data_dir.join("seccomp") };
    for folder in [&paths.pods, &paths.seccomp] {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o750).create(folder);
        made.map_err(AgentError::io(format!("making {}", folder.display())))?;
    }
    Ok(paths)
}

fn node_spec(config: &AgentConfig) -> NodeSpec {
    NodeSpec {
        name: config.node_name.clone(),
        ip: config.node_ip,
        pod_cidr: config.pod_cidr,
        labels: config.labels.clone(),
        max_pods: config.max_pods,
    }
}

impl AgentHandle {
    /// Returns when the node is registered and Ready.
    pub async fn ready(&self) -> Result<(), AgentError> {
        let mut ready = self.ready.clone();
        ready.wait_for(|r| *r).await.map(drop).map_err(|_| AgentError::Stopped)
    }

    /// Stops the agent; containers go on running, and the next agent on this data adopts them.
    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
        self.checkpoint.flush();
    }

    /// Stops all pods, gracefully within a bound, and then the agent; removes sandboxes, volumes and mounts. Pods that
    /// could not be stopped in time are an error that names them; the next agent on this data has them again.
    pub async fn stop_all(mut self) -> Result<(), AgentError> {
        let stopped = self.pods.stop_all().await;
        self.tasks.shutdown().await;
        self.checkpoint.flush();
        stopped?;
        let checkpoint = self.data_dir.join("checkpoint");
        self.checkpoint.delete_all().map_err(AgentError::io(format!("removing {}", checkpoint.display())))
    }
}
