//! Listeners and connections: TLS, HTTP/1.1 and 2, bounds, an orderly end.

use super::respond::Body;
use super::{dispatch, tls};
use crate::limits::{
    DRAIN_TIMEOUT, HANDSHAKE_TIMEOUT, HEADER_TIMEOUT, KEEP_ALIVE, MAX_CONNECTIONS, MAX_LONG_REQUESTS, MAX_REQUESTS,
    MAX_STREAMS_PER_CONNECTION,
};
use crate::registry::Registry;
use crate::user::UserInfo;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::util::BoxCloneSyncService;

/// Answers requests of content type `application/grpc`; finds the [`UserInfo`] in their extensions.
pub type GrpcService = BoxCloneSyncService<Request<Incoming>, Response<Body>, Infallible>;

pub struct ServerOptions {
    pub tls: Arc<rustls::ServerConfig>,
    pub grpc: Option<GrpcService>,
}

/// Serves one registry on any number of listeners.
pub struct Server {
    pub(super) registry: Arc<Registry>,
    pub(super) grpc: Option<GrpcService>,
    pub(super) stop: CancellationToken,
    pub(super) short: Arc<Semaphore>,
    pub(super) long: Arc<Semaphore>,
    tls: TlsAcceptor,
    connections: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Server {
    pub fn new(registry: Arc<Registry>, options: ServerOptions) -> Arc<Self> {
        Arc::new(Self {
            registry,
            grpc: options.grpc,
            stop: CancellationToken::new(),
            short: Arc::new(Semaphore::new(MAX_REQUESTS)),
            long: Arc::new(Semaphore::new(MAX_LONG_REQUESTS)),
            tls: TlsAcceptor::from(options.tls),
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            tasks: TaskTracker::new(),
        })
    }

    /// Serves on this listener too, from now on. Returns at once.
    pub fn listen(self: &Arc<Self>, listener: TcpListener) {
        let server = self.clone();
        self.tasks.spawn(async move { server.accept(listener).await });
    }

    /// Ends every connection: requests under way get a moment, watches end at once.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(DRAIN_TIMEOUT, self.tasks.wait()).await.is_err() {
            tracing::warn!("requests were still open when the API server stopped");
        }
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // Past the bound new connections are closed at once, so that the open ones stay served.
                    let Ok(place) = self.connections.clone().try_acquire_owned() else { continue };
                    let server = self.clone();
                    self.tasks.spawn(async move {
                        server.connection(stream, peer).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    // Out of file descriptors, say: a busy loop would not help.
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, %peer, "TCP_NODELAY could not be set");
        }
        let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, self.tls.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, %peer, "TLS handshake failed"),
            Err(_) => return tracing::debug!(%peer, "TLS handshake took too long"),
        };
        let certificates = stream.get_ref().1.peer_certificates();
        let user: Option<Arc<UserInfo>> = certificates.and_then(|c| tls::user_of(c.first()?)).map(Arc::new);
        let server = self.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (server, user) = (server.clone(), user.clone());
            async move { Ok::<_, Infallible>(dispatch::handle(&server, user.as_deref(), request).await) }
        });
        let builder = builder();
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        tokio::select! {
            result = connection.as_mut() => ended(result, peer),
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                if let Ok(result) = tokio::time::timeout(DRAIN_TIMEOUT, connection).await {
                    ended(result, peer);
                }
            }
        }
    }
}

fn ended(result: Result<(), Box<dyn std::error::Error + Send + Sync>>, peer: SocketAddr) {
    if let Err(error) = result {
        tracing::debug!(%error, %peer, "connection ended");
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    builder
}
