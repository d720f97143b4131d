//! A mutually authenticated HTTP/2 connection, for tonic's custom connector.

use crate::config::TlsConfig;
use crate::error::AgentError;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

type Connecting = Pin<Box<dyn Future<Output = io::Result<TokioIo<TlsStream<TcpStream>>>> + Send>>;

/// Dials the control plane, whatever URI it is asked for.
#[derive(Clone)]
pub struct Dialer {
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: TlsConnector,
}

impl Dialer {
    pub fn new(server: &str, tls: &TlsConfig) -> Result<Self, AgentError> {
        let bad = || AgentError::Address { address: server.to_owned() };
        let (host, port) = server.rsplit_once(':').ok_or_else(bad)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = port.parse().map_err(|_| bad())?;
        let name = ServerName::try_from(host.clone()).map_err(|_| bad())?;
        Ok(Self { host, port, name, tls: TlsConnector::from(Arc::new(client_config(tls)?)) })
    }

    pub fn connect(&self) -> Connecting {
        let this = self.clone();
        Box::pin(async move {
            let tcp = TcpStream::connect((this.host.as_str(), this.port)).await?;
            tcp.set_nodelay(true)?;
            Ok(TokioIo::new(this.tls.connect(this.name, tcp).await?))
        })
    }
}

fn client_config(tls: &TlsConfig) -> Result<ClientConfig, AgentError> {
    let bad = |what| move |why: String| AgentError::Credentials { what, why };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(tls.ca.as_bytes()) {
        let certificate = certificate.map_err(|e| bad("CA certificate")(e.to_string()))?;
        roots.add(certificate).map_err(|e| bad("CA certificate")(e.to_string()))?;
    }
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(tls.certificate.as_bytes()).collect();
    let chain = chain.map_err(|e| bad("certificate")(e.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(tls.key.as_bytes()).map_err(|e| bad("key")(e.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| bad("TLS configuration")(e.to_string()))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|e| bad("certificate")(e.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
