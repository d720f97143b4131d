//! The handle the agent holds, and the task behind it.

use crate::limits::{AUDIT_PERIOD, QUEUED_COMMANDS};
use crate::node::{self, Node};
use crate::{Config, NetworkError, PodLink, Services, rules};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

/// One node's network. Cheap to clone. Dropping the last handle stops the DNS responder and leaves the kernel as it is:
/// pods keep talking, services keep their endpoints.
#[derive(Clone, Debug)]
pub struct Network {
    gateway: Ipv4Addr,
    commands: mpsc::Sender<Command>,
}

type Reply<T> = oneshot::Sender<Result<T, NetworkError>>;

#[derive(Debug)]
enum Command {
    Attach(PodLink, Reply<Ipv4Addr>),
    Detach(String, Reply<()>),
    SetServices(Services, Reply<()>),
    Attached(Reply<Vec<String>>),
    Teardown(Reply<()>),
}

impl Network {
    /// Makes the node's network, or takes over what an earlier process left: the same bridge, the addresses it gave out,
    /// the last services it was told.
    pub async fn start(config: Config) -> Result<Network, NetworkError> {
        let gateway = rules::gateway(&config);
        let node = Node::start(config).await?;
        let (commands, queue) = mpsc::channel(QUEUED_COMMANDS);
        tokio::spawn(run(node, queue));
        Ok(Network { gateway, commands })
    }

    /// Connects a pod and returns its address; the same one for the same id. With another namespace for the same id
    /// (a new sandbox of the pod) the address moves there.
    pub async fn attach(&self, link: &PodLink) -> Result<Ipv4Addr, NetworkError> {
        self.ask(|reply| Command::Attach(link.clone(), reply)).await
    }

    /// Takes a pod off the network and frees its address. No error if it is not there.
    pub async fn detach(&self, id: &str) -> Result<(), NetworkError> {
        self.ask(|reply| Command::Detach(id.to_owned(), reply)).await
    }

    /// Returns when the kernel has them, all at once. Connections that exist stay with their endpoint, even one that is
    /// not among the services any more.
    pub async fn set_services(&self, services: Services) -> Result<(), NetworkError> {
        self.ask(|reply| Command::SetServices(services, reply)).await
    }

    /// The ids of the pods that hold an address, so that the agent can detach those it knows nothing of.
    pub async fn attached(&self) -> Result<Vec<String>, NetworkError> {
        self.ask(Command::Attached).await
    }

    /// The node's own address on the pod network.
    pub fn gateway(&self) -> Ipv4Addr {
        self.gateway
    }

    /// Takes everything down and leaves the host as it was found.
    pub async fn teardown(self) -> Result<(), NetworkError> {
        self.ask(Command::Teardown).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, NetworkError> {
        let stopped = || NetworkError::Io { doing: "asking the network".into(), why: "it was taken down".into() };
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

/// Ranges that this host already routes, or that another node's network on it has claimed. Needs no running network.
pub async fn used_ranges() -> Result<Vec<Ipv4Net>, NetworkError> {
    node::used_ranges().await
}

/// What [`Network::teardown`] does in the kernel, for a node whose process is gone. No error if nothing is there.
pub async fn teardown_leftovers(id: &str) -> Result<(), NetworkError> {
    node::teardown_leftovers(id).await
}

/// Does what is asked, one thing after the other, and looks after the rules meanwhile.
async fn run(mut node: Node, mut queue: mpsc::Receiver<Command>) {
    let mut audit = interval(AUDIT_PERIOD);
    audit.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Whoever asked may have gone meanwhile; then nobody needs the answer.
        tokio::select! {
            command = queue.recv() => match command {
                None => return,
                Some(Command::Attach(link, reply)) => drop(reply.send(node.attach(&link).await)),
                Some(Command::Detach(id, reply)) => drop(reply.send(node.detach(&id).await)),
                Some(Command::SetServices(services, reply)) => drop(reply.send(node.set_services(services).await)),
                Some(Command::Attached(reply)) => drop(reply.send(Ok(node.attached()))),
                Some(Command::Teardown(reply)) => {
                    drop(reply.send(node.teardown().await));
                    return;
                }
            },
            _ = audit.tick() => {
                if let Err(why) = node.audit().await {
                    tracing::warn!(error = %why, "the rules could not be looked after");
                }
            }
        }
    }
}
