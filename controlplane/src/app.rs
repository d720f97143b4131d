//! Starting and stopping the control plane: store, API server, then the controllers and the scheduler over it.

use crate::cluster::Cluster;
use crate::limits::STORE_LOOK;
use crate::nodelink;
use crate::pki::{Credentials, Pki, PkiError};
use crate::sessions::Sessions;
use coracle_apiserver::auth::{SignerError, TokenSigner};
use coracle_apiserver::http::TlsError;
use coracle_apiserver::{
    NODE_PORTS, Registry, RegistryConfig, STAMP, Server, ServerOptions, UserInfo, tls_config, user,
};
use coracle_client::{Clock, EventRecorder, Informers, ResourceApi};
use coracle_controllers::Config as ControllerConfig;
use coracle_proto::{ApiError, Resource};
use coracle_scheduler::Scheduler;
use coracle_store::{OpenError, RaftConfig, RaftStore, Store, StoreError, Term};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// This server's number in the cluster's membership. A cluster of one server has no other.
const SERVER: u64 = 1;

pub struct ControlPlaneConfig {
    /// Made if it is missing; `store` and `pki` lie in it.
    pub data_dir: PathBuf,
    pub cluster: Cluster,
    /// Bound. The API is served on each.
    pub listeners: Vec<TcpListener>,
    /// Where pods reach the API: the endpoint of the Service `default/kubernetes`.
    pub advertise: SocketAddr,
    /// This host's name, for the certificate.
    pub host: String,
}

/// A running control plane.
pub struct ControlPlane {
    pki: Pki,
    http: Arc<Server>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    store: Arc<RaftStore>,
}

/// Why a control plane that was not asked to stop cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error("a part of the control plane ended: {0}; start again, and report the log if it happens again")]
    Part(String),
    #[error("{0}; mend its cause and start again")]
    Store(StoreError),
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    Signer(#[from] SignerError),
    #[error("the API server's certificate: {0}")]
    Tls(#[from] TlsError),
    #[error("the API server cannot listen: {0}")]
    Listen(std::io::Error),
    #[error("the cluster's first objects could not be written: {0}")]
    Bootstrap(ApiError),
    #[error("another server leads the cluster of this data directory")]
    NotLeading,
}

impl ControlPlane {
    /// Returns when the API answers.
    pub async fn start(config: ControlPlaneConfig) -> Result<Self, StartError> {
        let pki = Pki::open(&config.data_dir.join("pki"))?;
        let server = pki.server(&server_names(&config))?;
        let store = Arc::new(RaftStore::open(RaftConfig::new(config.data_dir.join("store"), SERVER, STAMP)).await?);
        let sessions = Sessions::default();
        let registry = Registry::new(
            store.clone(),
            RegistryConfig {
                service_range: config.cluster.service_range,
                node_ports: NODE_PORTS,
                signer: Arc::new(TokenSigner::new(&pki.token_key()?, &issuer(&config.cluster))?),
                dns_domain: config.cluster.domain.clone(),
                node_streams: Arc::new(sessions.clone()),
            },
        );
        coracle_apiserver::bootstrap(&registry, &[config.advertise]).await.map_err(StartError::Bootstrap)?;

        let mut tasks = JoinSet::new();
        let stop = CancellationToken::new();
        let tls = tls_config(&server.certificate, &server.key, pki.authority())?;
        let grpc = nodelink::service(registry.clone(), sessions, stop.clone());
        let http = Server::new(registry.clone(), ServerOptions { tls, grpc: Some(grpc) });
        for listener in config.listeners {
            http.listen(tokio::net::TcpListener::from_std(listener).map_err(StartError::Listen)?);
        }
        let term = store.leading().ok_or(StartError::NotLeading)?;
        lead(&registry, term, pki.authority(), &stop, &mut tasks);
        Ok(Self { pki, http, stop, tasks, store })
    }

    /// The authority's certificate, PEM.
    pub fn authority(&self) -> &str {
        self.pki.authority()
    }

    pub fn admin_credentials(&self) -> Result<Credentials, PkiError> {
        self.pki.client("admin", "kubernetes-admin", &[user::MASTERS])
    }

    /// `node` is a valid object name.
    pub fn node_credentials(&self, node: &str) -> Result<Credentials, PkiError> {
        self.pki.client(&format!("node-{node}"), &format!("{}{node}", user::NODE_PREFIX), &[user::NODES])
    }

    /// Returns when the control plane cannot go on: a task that should run until the stop has ended, or the store does
    /// not serve any more.
    pub async fn broken(&mut self) -> Broken {
        let mut looks = tokio::time::interval(STORE_LOOK);
        loop {
            tokio::select! {
                Some(ended) = self.tasks.join_next() => {
                    return Broken::Part(ended.map_or_else(|e| e.to_string(), |()| "without a reason".into()));
                }
                _ = looks.tick() => if let Err(why @ StoreError::Unavailable(_)) = self.store.read_barrier().await {
                    return Broken::Store(why);
                }
            }
        }
    }

    /// Stops what works over the API, then serving. The store needs no goodbye: what it acknowledged is durable.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        self.http.shutdown().await;
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a part of the control plane ended badly");
            }
        }
    }
}

/// Starts what only the leader runs. All its writes are bound to the term.
fn lead(registry: &Arc<Registry>, term: Term, authority: &str, stop: &CancellationToken, tasks: &mut JoinSet<()>) {
    let api = |user: UserInfo| registry.client_in_term(user, term);
    let controller_manager = api(UserInfo::controller_manager());
    let informers = Informers::new(&controller_manager);
    let mut reflectors = informers.start(stop);
    // Informers end together: one that is gone would leave its readers with the past for ever.
    tasks.spawn(async move { while let Some(Ok(())) = reflectors.join_next().await {} });

    tasks.spawn(coracle_apiserver::expire_events(api(UserInfo::loopback()), stop.clone()));

    let scheduler = api(UserInfo::scheduler());
    let recorder = EventRecorder::start(scheduler.clone(), coracle_scheduler::NAME, Clock::System);
    tasks.spawn(Scheduler::new(scheduler, informers.clone(), recorder).run(stop.clone()));

    let config = ControllerConfig::new(authority.into(), Arc::new(served));
    let api_as = |_: &str| -> Arc<dyn ResourceApi> { controller_manager.clone() };
    tasks.spawn(coracle_controllers::start(&api_as, &informers, config, stop).stopped());
}

/// Every resource type of the catalog.
fn served() -> Vec<Resource> {
    coracle_apiserver::catalog::CATALOG.iter().map(|kind| kind.facts().resource.clone()).collect()
}

fn issuer(cluster: &Cluster) -> String {
    format!("https://kubernetes.default.svc.{}", cluster.domain)
}

/// What clients may call the API server.
fn server_names(config: &ControlPlaneConfig) -> Vec<String> {
    let service = format!("kubernetes.default.svc.{}", config.cluster.domain);
    let mut names: Vec<String> =
        ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", &service, &config.host]
            .map(Into::into)
            .into();
    let own = config.listeners.iter().filter_map(|l| l.local_addr().ok()).map(|a| a.ip());
    let fixed = [IpAddr::from([127, 0, 0, 1]), config.cluster.api_service_address().into(), config.advertise.ip()];
    names.extend(own.chain(fixed).filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string()));
    names.sort();
    names.dedup();
    names
}
