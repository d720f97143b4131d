//! The API over HTTPS without `kubectl`, whose own start would hide what is measured, and which sends no bad input.

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

/// One user's access; every request is a connection of its own unless [`Api::connect`] is used.
pub struct Api {
    runtime: Runtime,
    address: String,
    tls: TlsConnector,
}

/// A connection that is kept.
pub struct Connection<'a> {
    api: &'a Api,
    sender: SendRequest<Full<Bytes>>,
}

pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Api {
    /// As the user of a kubeconfig with embedded certificates.
    pub fn from_kubeconfig(path: &Path) -> Result<Self> {
        let config: Value = serde_norway::from_str(&std::fs::read_to_string(path)?)?;
        let cluster = &config["clusters"][0]["cluster"];
        let user = &config["users"][0]["user"];
        let pem = |value: &Value| Ok::<_, anyhow::Error>(STANDARD.decode(value.as_str().context("a PEM")?)?);
        let certificate = pem(&user["client-certificate-data"])?;
        let key = pem(&user["client-key-data"])?;
        Self::new(cluster, Some((&certificate, &key)))
    }

    /// Trusts the cluster of a kubeconfig, and shows no certificate.
    pub fn anonymous(path: &Path) -> Result<Self> {
        let config: Value = serde_norway::from_str(&std::fs::read_to_string(path)?)?;
        Self::new(&config["clusters"][0]["cluster"], None)
    }

    fn new(cluster: &Value, identity: Option<(&[u8], &[u8])>) -> Result<Self> {
        let server = cluster["server"].as_str().context("a server")?;
        let address = server.strip_prefix("https://").context("an https server")?.to_owned();
        let authority = STANDARD.decode(cluster["certificate-authority-data"].as_str().context("an authority")?)?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&authority)?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match identity {
            Some((certificate, key)) => builder.with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate)?],
                PrivateKeyDer::from_pem_slice(key)?,
            )?,
            None => builder.with_no_client_auth(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, address, tls: TlsConnector::from(Arc::new(config)) })
    }

    pub fn connect(&self) -> Result<Connection<'_>> {
        let sender = self.runtime.block_on(async {
            let stream = TcpStream::connect(&self.address).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from("kubernetes")?;
            let (sender, connection) = handshake(TokioIo::new(self.tls.connect(name, stream).await?)).await?;
            tokio::spawn(connection);
            Ok::<_, anyhow::Error>(sender)
        })?;
        Ok(Connection { api: self, sender })
    }

    pub fn get(&self, path: &str) -> Result<Value> {
        self.connect()?.ok(Method::GET, path, None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.connect()?.ok(Method::POST, path, Some(body))
    }
}

impl Connection<'_> {
    pub fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer> {
        self.api.runtime.block_on(async {
            let answer = self.sender.send_request(request).await?;
            let status = answer.status();
            Ok(Answer { status, body: answer.into_body().collect().await?.to_bytes() })
        })
    }

    /// A request that must succeed.
    pub fn ok(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let bytes = body.map(|b| Bytes::from(b.to_string())).unwrap_or_default();
        let request = Request::builder()
            .method(method.clone())
            .uri(path)
            .header("host", "kubernetes")
            .header("content-type", "application/json")
            .body(Full::new(bytes))?;
        let answer = self.send(request)?;
        if !answer.status.is_success() {
            bail!("{method} {path}: {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        Ok(answer.json())
    }
}
