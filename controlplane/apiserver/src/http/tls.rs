//! TLS: a server configuration from PEM, and the identity in a client's certificate.

use crate::user::{AUTHENTICATED, UserInfo};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use x509_parser::prelude::{FromDer, X509Certificate};

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{what} is not valid PEM: {why}")]
    Pem { what: &'static str, why: String },
    #[error("the TLS configuration is not valid: {0}")]
    Config(String),
}

/// Client certificates signed by `client_ca` are asked for, not required.
pub fn tls_config(certificate: &str, key: &str, client_ca: &str) -> Result<Arc<ServerConfig>, TlsError> {
    let pem = |what: &'static str| move |e: rustls_pki_types::pem::Error| TlsError::Pem { what, why: e.to_string() };
    let config = |e: &dyn std::fmt::Display| TlsError::Config(e.to_string());
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(pem("the server certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(pem("the server key"))?;
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(client_ca.as_bytes()) {
        roots.add(authority.map_err(pem("the client authority"))?).map_err(|e| config(&e))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|e| config(&e))?;
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| config(&e))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|e| config(&e))?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}

/// Common name → user, organisations → groups. The chain has been verified by the handshake.
pub fn user_of(certificate: &CertificateDer<'_>) -> Option<UserInfo> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let subject = parsed.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let mut groups: Vec<String> =
        subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_owned).collect();
    groups.push(AUTHENTICATED.into());
    Some(UserInfo { name, groups, ..UserInfo::default() })
}
