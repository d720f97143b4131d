//! The sockets of the DNS responder, UDP and TCP on the gateway's address, and the tasks that serve them.

use super::answer::{self, Reply, Transport, respond};
use super::forward::{Upstream, read_message, write_message};
use super::zone::{self, Zone};
use crate::limits::{DNS_CONNECTIONS, DNS_FORWARDS, DNS_IDLE, DNS_UDP_BYTES};
use crate::{Config, NetworkError, Services};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

const PORT: u16 = 53;
/// Queries with more than this over UDP are not for us.
const QUERY_BYTES: usize = DNS_UDP_BYTES as usize;
/// After an error on a listening socket (no descriptors, an ICMP answer), before it is tried again.
const PAUSE: Duration = Duration::from_millis(10);

/// A running responder; dropping it stops it.
#[derive(Debug)]
pub struct Server {
    config: Config,
    zone: watch::Sender<Arc<Zone>>,
    stop: DropGuard,
    tasks: TaskTracker,
}

/// What every task answers from.
#[derive(Clone)]
struct Shared {
    zone: watch::Receiver<Arc<Zone>>,
    upstream: Arc<Upstream>,
    forwards: Arc<Semaphore>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Binds `gateway`:53 and serves.
    pub async fn start(config: &Config, gateway: Ipv4Addr, services: Arc<Services>) -> Result<Self, NetworkError> {
        zone::domain(config).map_err(|error| NetworkError::Host {
            what: format!("the cluster's domain {:?} is not a name: {error}", config.cluster_domain),
            fix: "give one such as cluster.local".into(),
        })?;
        let taken = |error: io::Error| NetworkError::Host {
            what: format!("no DNS on {gateway}:{PORT}: {error}"),
            fix: "stop what listens on port 53 of every address, or bind it to its own address".into(),
        };
        let udp = UdpSocket::bind((gateway, PORT)).await.map_err(taken)?;
        let tcp = TcpListener::bind((gateway, PORT)).await.map_err(taken)?;
        let (zone, answers) = watch::channel(Arc::new(Zone::new(config, services)));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let shared = Shared {
            zone: answers,
            upstream: Arc::new(Upstream::new(&config.upstream_dns, gateway)),
            forwards: Arc::new(Semaphore::new(DNS_FORWARDS)),
            stop: stop.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(shared.clone().serve_udp(Arc::new(udp)));
        tasks.spawn(shared.serve_tcp(tcp));
        Ok(Self { config: config.clone(), zone, stop: stop.drop_guard(), tasks })
    }

    /// Answers from these services from now on.
    pub fn set_services(&self, services: Arc<Services>) {
        self.zone.send_replace(Arc::new(Zone::new(&self.config, services)));
    }

    /// Stops, and returns when the sockets are closed.
    pub async fn stop(self) {
        drop(self.stop);
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Shared {
    async fn serve_udp(self, socket: Arc<UdpSocket>) {
        let mut buffer = vec![0; QUERY_BYTES];
        loop {
            let received = tokio::select! {
                () = self.stop.cancelled() => return,
                received = socket.recv_from(&mut buffer) => received,
            };
            match received {
                Ok((length, client)) => self.answer_udp(&socket, &buffer[..length], client).await,
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Answers at once what is known here; the rest in a task of its own.
    async fn answer_udp(&self, socket: &Arc<UdpSocket>, query: &[u8], client: SocketAddr) {
        let zone = self.zone.borrow().clone();
        match respond(&zone, query, Transport::Udp) {
            Reply::Ignore => {}
            Reply::Send(answer) => send(socket, &answer, client).await,
            reply => {
                let Ok(permit) = self.forwards.clone().try_acquire_owned() else {
                    return send(socket, &answer::failure(query), client).await;
                };
                let (shared, socket, query) = (self.clone(), socket.clone(), query.to_vec());
                let answering = async move {
                    if let Some(answer) = shared.finish(reply, &query, Transport::Udp).await {
                        send(&socket, &answer, client).await;
                    }
                    drop(permit);
                };
                self.spawn(answering);
            }
        }
    }

    /// What others must answer, or help to.
    async fn finish(&self, reply: Reply, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        match reply {
            Reply::Ignore => None,
            Reply::Send(answer) => Some(answer),
            Reply::Forward => Some(self.upstream.ask(query, transport).await.unwrap_or_else(|| answer::failure(query))),
            Reply::Chase(chase) => {
                let answer = self.upstream.ask(&chase.query(), transport).await;
                Some(chase.complete(answer.as_deref()))
            }
        }
    }

    async fn serve_tcp(self, listener: TcpListener) {
        let connections = Arc::new(Semaphore::new(DNS_CONNECTIONS));
        loop {
            // Others wait in the listener's queue.
            let Ok(permit) = connections.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let shared = self.clone();
                    self.spawn(async move {
                        // A client that leaves, or is silent for long, has no answer to miss.
                        drop(shared.converse(stream).await);
                        drop(permit);
                    });
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Answers one query after the other.
    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let query = timeout(DNS_IDLE, read_message(&mut stream)).await??;
            let zone = self.zone.borrow().clone();
            let reply = respond(&zone, &query, Transport::Tcp);
            let Some(answer) = self.finish(reply, &query, Transport::Tcp).await else { return Ok(()) };
            timeout(DNS_IDLE, write_message(&mut stream, &answer)).await??;
        }
    }

    /// Runs a task that ends with the server.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }
}

/// A client that is gone is no error of ours.
async fn send(socket: &UdpSocket, answer: &[u8], client: SocketAddr) {
    if !answer.is_empty()
        && let Err(error) = socket.send_to(answer, client).await
    {
        tracing::debug!(%client, %error, "a DNS answer could not be sent");
    }
}
