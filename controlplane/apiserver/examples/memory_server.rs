//! An API server over a store in memory, for trying clients: `memory_server 127.0.0.1:6443 DIR` writes DIR/kubeconfig.

use coracle_apiserver::auth::TokenSigner;
use coracle_apiserver::node_streams::NoNodes;
use coracle_apiserver::{NODE_PORTS, Registry, RegistryConfig, STAMP, Server, ServerOptions, bootstrap, tls_config};
use coracle_store::MemoryStore;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use std::error::Error;
use std::sync::Arc;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (address, dir) = (args.next().ok_or("address?")?, args.next().ok_or("directory?")?);
    let authority = authority()?;
    let (cert, key) = issue(&authority, "kube-apiserver", &[], &["localhost", "127.0.0.1"])?;
    let (client_cert, client_key) = issue(&authority, "admin", &["system:masters"], &[])?;
    let config = RegistryConfig {
        service_range: "10.96.0.0/16".parse()?,
        node_ports: NODE_PORTS,
        signer: Arc::new(TokenSigner::new(&TokenSigner::generate_key()?, "https://kubernetes.default.svc")?),
        dns_domain: "cluster.local".into(),
        node_streams: Arc::new(NoNodes),
    };
    let registry = Registry::new(Arc::new(MemoryStore::new(STAMP)), config);
    let listener = TcpListener::bind(&address).await?;
    bootstrap(&registry, &[listener.local_addr()?]).await?;
    let tls = tls_config(&cert, &key, &authority.pem())?;
    let server = Server::new(registry, ServerOptions { tls, grpc: None });
    let files = [("ca.crt", authority.pem()), ("client.crt", client_cert), ("client.key", client_key)];
    std::fs::create_dir_all(&dir)?;
    for (name, text) in files {
        std::fs::write(format!("{dir}/{name}"), text)?;
    }
    std::fs::write(format!("{dir}/kubeconfig"), kubeconfig(&listener.local_addr()?.to_string(), &dir))?;
    server.listen(listener);
    tokio::signal::ctrl_c().await?;
    server.shutdown().await;
    Ok(())
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(DnType::CommonName, "test authority");
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

/// Certificate and key, PEM.
fn issue(
    authority: &CertifiedIssuer<'static, KeyPair>,
    user: &str,
    groups: &[&str],
    names: &[&str],
) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.distinguished_name.push(DnType::CommonName, user);
    for group in groups {
        params.distinguished_name.push(DnType::OrganizationName, *group);
    }
    Ok((params.signed_by(&key, authority)?.pem(), key.serialize_pem()))
}

fn kubeconfig(address: &str, dir: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters: [{{name: test, cluster: {{server: 'https://{address}', \
         certificate-authority: '{dir}/ca.crt'}}}}]\ncontexts: [{{name: test, context: {{cluster: test, user: admin}}}}]\n\
         users: [{{name: admin, user: {{client-certificate: '{dir}/client.crt', client-key: '{dir}/client.key'}}}}]\n"
    )
}
