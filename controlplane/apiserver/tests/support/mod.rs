//! A whole API server in this process: the real registry and the real HTTP side, over a store in memory.
#![allow(dead_code)]

use bytes::Bytes;
use coracle_apiserver::auth::TokenSigner;
use coracle_apiserver::node_streams::{NoNodes, NodeStreams};
use coracle_apiserver::{
    GrpcService, NODE_PORTS, Registry, RegistryConfig, STAMP, Server, ServerOptions, UserInfo, bootstrap, tls_config,
};
use coracle_client::ResourceApi;
use coracle_proto::resource::{PODS, SERVICE_ACCOUNTS};
use coracle_proto::{ObjectKey, Tree};
use coracle_store::MemoryStore;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};

pub fn registry_with(node_streams: Arc<dyn NodeStreams>) -> Arc<Registry> {
    let key = TokenSigner::generate_key().expect("a key");
    let config = RegistryConfig {
        service_range: "10.96.0.0/24".parse().expect("a range"),
        node_ports: NODE_PORTS,
        signer: Arc::new(TokenSigner::new(&key, "https://kubernetes.default.svc").expect("a signer")),
        dns_domain: "cluster.local".into(),
        node_streams,
    };
    Registry::new(Arc::new(MemoryStore::new(STAMP)), config)
}

/// With the bootstrap objects and the default service account.
pub async fn registry() -> Arc<Registry> {
    prepared(Arc::new(NoNodes)).await
}

pub async fn prepared(node_streams: Arc<dyn NodeStreams>) -> Arc<Registry> {
    let registry = registry_with(node_streams);
    bootstrap(&registry, &[]).await.expect("bootstrap");
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    let key = ObjectKey::new("default", "");
    admin(&registry).create(&SERVICE_ACCOUNTS, &key, "", account).await.expect("the default account");
    registry
}

pub fn admin(registry: &Arc<Registry>) -> Arc<dyn ResourceApi> {
    registry.client(UserInfo::new("admin", &["system:masters"]))
}

pub fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "demo:v1"}]},
    })
}

pub fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "demo:v1"}]},
            },
        },
    })
}

/// A pod that is bound to a node.
pub async fn bound_pod(registry: &Arc<Registry>, name: &str, node: &str) -> Tree {
    let api = admin(registry);
    api.create(&PODS, &ObjectKey::new("default", ""), "", pod(name)).await.expect("a pod");
    let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": node}});
    let key = ObjectKey::new("default", name);
    api.create(&PODS, &key, "binding", binding).await.expect("bound");
    api.get(&PODS, &key).await.expect("the pod").tree().expect("JSON")
}

/// A server on loopback, its certificates, and connections to it.
pub struct Cluster {
    pub registry: Arc<Registry>,
    pub server: Arc<Server>,
    pub address: SocketAddr,
    pub authority: CertifiedIssuer<'static, KeyPair>,
}

/// An answer, read whole.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or_default().to_owned()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Cluster {
    pub async fn start() -> Self {
        Self::over(registry().await).await
    }

    pub async fn over(registry: Arc<Registry>) -> Self {
        Self::with_grpc(registry, None).await
    }

    pub async fn with_grpc(registry: Arc<Registry>, grpc: Option<GrpcService>) -> Self {
        let authority = new_authority();
        let (cert, key) = issue(&authority, "kube-apiserver", &[]);
        let tls = tls_config(&cert, &key, &authority.pem()).expect("a TLS configuration");
        let server = Server::new(registry.clone(), ServerOptions { tls, grpc });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        server.listen(listener);
        Self { registry, server, address, authority }
    }

    /// A TLS connection as this user, or as nobody.
    pub async fn connect(&self, user: Option<(&str, &[&str])>) -> tokio_rustls::client::TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).expect("our authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match user {
            Some((name, groups)) => {
                let (cert, key) = issue(&self.authority, name, groups);
                let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).expect("PEM")];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
                builder.with_client_auth_cert(chain, key).expect("a client certificate")
            }
            None => builder.with_no_client_auth(),
        };
        let stream = TcpStream::connect(self.address).await.expect("the server listens");
        let name = ServerName::try_from("localhost").expect("a name");
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake")
    }

    pub async fn send(&self, user: Option<(&str, &[&str])>, request: Request<Full<Bytes>>) -> Answer {
        let response = self.open(user, request).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// The head of the answer; the body streams.
    pub async fn open(
        &self,
        user: Option<(&str, &[&str])>,
        request: Request<Full<Bytes>>,
    ) -> Response<hyper::body::Incoming> {
        let io = TokioIo::new(self.connect(user).await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.expect("HTTP");
        tokio::spawn(connection);
        sender.send_request(request).await.expect("an answer")
    }

    /// As an administrator, with headers as `name: value` pairs.
    pub async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        self.send(Some(("admin", &["system:masters"])), request(method, path, headers, body)).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[], "").await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::POST, path, &[("content-type", "application/json")], body.to_string()).await
    }

    /// Writes what kubectl needs into `dir`; returns the path.
    pub fn kubeconfig(&self, dir: &std::path::Path) -> std::path::PathBuf {
        let (cert, key) = issue(&self.authority, "admin", &["system:masters"]);
        let encode = |text: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "t",
            "clusters": [{"name": "t", "cluster": {
                "server": format!("https://localhost:{}", self.address.port()),
                "certificate-authority-data": encode(&self.authority.pem()),
            }}],
            "users": [{"name": "t", "user": {
                "client-certificate-data": encode(&cert), "client-key-data": encode(&key),
            }}],
            "contexts": [{"name": "t", "context": {"cluster": "t", "user": "t"}}],
        });
        let path = dir.join("kubeconfig");
        std::fs::write(&path, config.to_string()).expect("written");
        path
    }
}

pub fn request(method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into())).expect("a request")
}

fn new_authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(DnType::CommonName, "test authority");
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

fn issue(authority: &CertifiedIssuer<'static, KeyPair>, user: &str, groups: &[&str]) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).expect("names");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.distinguished_name.push(DnType::CommonName, user);
    for group in groups {
        params.distinguished_name.push(DnType::OrganizationName, *group);
    }
    (params.signed_by(&key, authority).expect("signed").pem(), key.serialize_pem())
}

/// The oldest kubectl on this machine, the newest, and one between (the first to try WebSocket); all of them in CI and
/// with `CORACLE_KUBECTLS=all`. Where no version is known by name, whatever is in the path.
pub fn kubectls() -> Vec<std::path::PathBuf> {
    let known = (27..=33).map(|v| format!("/usr/lib/google-cloud-sdk/bin/kubectl.1.{v}").into());
    let mut found: Vec<std::path::PathBuf> = known.filter(|p: &std::path::PathBuf| p.exists()).collect();
    if found.is_empty() {
        let path = std::env::var_os("PATH").unwrap_or_default();
        found.extend(std::env::split_paths(&path).map(|dir| dir.join("kubectl")).find(|p| p.exists()));
    }
    let ci = std::env::var("CI").is_ok_and(|v| v == "true");
    if found.is_empty() {
        println!("skipped: there is no kubectl here");
        assert!(!ci, "CI must have kubectl");
    }
    if !ci && std::env::var("CORACLE_KUBECTLS").is_err() && found.len() > 3 {
        found = vec![found[0].clone(), found[found.len() / 2].clone(), found[found.len() - 1].clone()];
    }
    found
}
