//! Takes images from OCI registries: over TLS, or plain HTTP where the registry is this host itself.

use super::archive::{self, Part};
use super::digest::Digest;
use super::fault::{Fault, io_error};
use super::import::{Incoming, LayerStream, Progress, Report, Step};
use super::limits;
use super::name::ImageName;
use super::store::{ImageStore, Work};
use crate::{Image, RegistryAuth, RuntimeError};
use futures::StreamExt;
use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::manifest::OciDescriptor;
use oci_client::{Reference, secrets};
use oci_spec::image::{ImageIndex, ImageManifest};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Seek, Write};
use std::time::Duration;

const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    archive::DOCKER_MANIFEST,
    archive::DOCKER_LIST,
];

struct Registry<'a> {
    client: Client,
    name: &'a ImageName,
    auth: secrets::RegistryAuth,
}

/// The manifest for this platform and the digests that lead to it.
struct Manifest {
    manifest: ImageManifest,
    digests: BTreeSet<String>,
}

impl ImageStore {
    /// Fetches an image, whatever is here of it already is kept.
    pub async fn pull(
        &self,
        name: &str,
        auth: Option<&RegistryAuth>,
        report: Report<'_>,
    ) -> Result<Image, RuntimeError> {
        let name = ImageName::parse(name)?;
        let registry = Registry::of(&name, auth);
        let manifest = registry.manifest().await?;
        let working = self.work()?;
        let result = self.pull_parts(&working, &registry, manifest, report).await;
        drop(working);
        if result.is_err() {
            self.collect()?;
        }
        result
    }

    async fn pull_parts(
        &self,
        working: &Work,
        registry: &Registry<'_>,
        found: Manifest,
        report: Report<'_>,
    ) -> Result<Image, RuntimeError> {
        let origin = registry.name.to_string();
        let part = |descriptor| archive::part_of(descriptor).map_err(|fault| fault.of(&origin));
        let config = registry.document(&part(found.manifest.config())?).await?;
        let layers = found.manifest.layers().iter().map(part).collect::<Result<Vec<_>, _>>()?;
        let names = [registry.name.clone()];
        let incoming = Incoming { origin: &origin, config: &config, names: &names, digests: found.digests };
        let chain = self.chain_of(&incoming, layers.len())?;
        for (n, layer) in layers.iter().enumerate() {
            let file = match self.layers().usable(&chain[n].0)? {
                true => None,
                false => Some(registry.download(layer, self, report).await?),
            };
            self.unpack_off_thread(working, &chain, n, (&origin, layer), file, report).await?;
        }
        self.publish_chain(working, incoming, &chain)
    }

    /// The thread holds `working` too: it may outlive whoever asked.
    async fn unpack_off_thread(
        &self,
        working: &Work,
        chain: &[(Digest, Digest)],
        n: usize,
        (origin, part): (&str, &Part),
        file: Option<File>,
        report: Report<'_>,
    ) -> Result<(), RuntimeError> {
        let (store, working) = (self.clone(), working.clone());
        let (chain, origin, digest) = (chain.to_vec(), origin.to_owned(), part.digest.clone());
        let (tell, mut told) = tokio::sync::mpsc::channel(limits::REPORTS);
        let unpacking = tokio::task::spawn_blocking(move || {
            let vanished = || Fault::bad("a layer vanished while the image was pulled").of(&origin);
            let open = || match file {
                Some(file) => Ok(LayerStream { reader: Box::new(file), digest }),
                None => Err(vanished()),
            };
            // A step that nobody has time for is followed by others.
            let report = move |step| drop(tell.try_send(step));
            store.ensure_layer(&working, &chain, n, &origin, &report, open)
        });
        // Ends when the thread does.
        while let Some(step) = told.recv().await {
            report(step);
        }
        unpacking.await.map_err(|e| RuntimeError::Io { doing: "unpacking a layer".to_owned(), why: e.to_string() })?
    }
}

impl<'a> Registry<'a> {
    fn of(name: &'a ImageName, auth: Option<&RegistryAuth>) -> Self {
        ensure_tls_provider();
        let protocol = match is_loopback(&name.registry) {
            true => ClientProtocol::Http,
            false => ClientProtocol::Https,
        };
        let config = ClientConfig {
            protocol,
            connect_timeout: Some(Duration::from_secs(limits::REGISTRY_SECONDS)),
            read_timeout: Some(Duration::from_secs(limits::REGISTRY_SECONDS)),
            user_agent: concat!("coracle/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let auth = match auth {
            Some(auth) => secrets::RegistryAuth::Basic(auth.username.clone(), auth.password.clone()),
            None => secrets::RegistryAuth::Anonymous,
        };
        Registry { client: Client::new(config), name, auth }
    }

    fn reference(&self, digest: Option<&Digest>) -> Reference {
        let (registry, repository) = (self.name.registry.clone(), self.name.repository.clone());
        match (digest.or(self.name.digest.as_ref()), &self.name.tag) {
            (Some(digest), _) => Reference::with_digest(registry, repository, digest.to_string()),
            (None, Some(tag)) => Reference::with_tag(registry, repository, tag.clone()),
            (None, None) => unreachable!("a name has a tag or a digest"),
        }
    }

    fn failed(&self, why: impl std::fmt::Display) -> RuntimeError {
        RuntimeError::Pull { name: self.name.to_string(), why: why.to_string() }
    }

    /// Each read may be in time, and the whole still go on for ever.
    async fn within<T>(
        &self,
        seconds: u64,
        request: impl Future<Output = Result<T, RuntimeError>>,
    ) -> Result<T, RuntimeError> {
        let done = tokio::time::timeout(Duration::from_secs(seconds), request).await;
        done.unwrap_or_else(|_| Err(self.failed(format!("the registry took longer than {seconds} s"))))
    }

    /// Follows an index to the manifest for this platform; every document is checked against its digest.
    async fn manifest(&self) -> Result<Manifest, RuntimeError> {
        let mut digests = BTreeSet::new();
        let mut wanted: Option<Digest> = self.name.digest.clone();
        for _ in 0..=limits::NESTING {
            let reference = self.reference(wanted.as_ref());
            let request = async {
                let pulled = self.client.pull_manifest_raw(&reference, &self.auth, &ACCEPTED).await;
                pulled.map_err(|e| self.failed(explain(&e)))
            };
            // The client reads whatever it is sent into memory: the time is all that bounds it.
            let (json, _) = self.within(limits::DOCUMENT_SECONDS, request).await?;
            if json.len() as u64 > limits::DOCUMENT_BYTES {
                return Err(self.failed("its manifest is too large"));
            }
            let digest = Digest::of(&json);
            if wanted.as_ref().is_some_and(|wanted| *wanted != digest) {
                return Err(self
                    .failed(format!("the registry sent a manifest with digest {digest}, not {}", reference.whole())));
            }
            digests.insert(format!("{}@{digest}", self.name.place()));
            match next_manifest(&json).map_err(|fault| self.failed(fault))? {
                Next::Manifest(manifest) => return Ok(Manifest { manifest: *manifest, digests }),
                Next::Digest(inner) => wanted = Some(inner),
            }
        }
        Err(self.failed("its index leads to an index that leads to an index"))
    }

    async fn document(&self, part: &Part) -> Result<Vec<u8>, RuntimeError> {
        let mut bytes = Vec::new();
        let request = self.fetch(part, limits::DOCUMENT_BYTES, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        });
        self.within(limits::DOCUMENT_SECONDS, request).await?;
        match part.digest.as_ref() {
            Some(digest) if Digest::of(&bytes) != *digest => {
                Err(self.failed("its configuration does not have the digest it should"))
            }
            _ => Ok(bytes),
        }
    }

    /// Into a nameless file in the store's folder. Its digest is checked when it is unpacked.
    async fn download(&self, part: &Part, store: &ImageStore, report: Report<'_>) -> Result<File, RuntimeError> {
        let doing = || "writing a layer aside";
        let mut file = tempfile::tempfile_in(store.staging()).map_err(io_error(doing()))?;
        let layer = part.digest.as_ref().map(Digest::to_string).unwrap_or_default();
        let mut done = 0;
        let request = self.fetch(part, limits::LAYER_BYTES, |piece| {
            done += piece.len() as u64;
            report(Progress { layer: layer.clone(), step: Step::Downloading, done_bytes: done, total_bytes: None });
            file.write_all(piece).map_err(io_error(doing()))
        });
        self.within(limits::LAYER_SECONDS, request).await?;
        file.rewind().map_err(io_error(doing()))?;
        Ok(file)
    }

    async fn fetch(
        &self,
        part: &Part,
        limit: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), RuntimeError>,
    ) -> Result<(), RuntimeError> {
        let digest = part.digest.as_ref().expect("parts of manifests have digests");
        let descriptor = OciDescriptor { digest: digest.to_string(), ..OciDescriptor::default() };
        let reference = self.reference(None);
        let mut stream =
            self.client.pull_blob_stream(&reference, &descriptor).await.map_err(|e| self.failed(explain(&e)))?.stream;
        let mut bytes = 0;
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|e| self.failed(explain(&e)))?;
            bytes += piece.len() as u64;
            if bytes > limit {
                return Err(self.failed(format!("{digest} is larger than {limit} bytes")));
            }
            take(&piece)?;
        }
        Ok(())
    }
}

enum Next {
    Manifest(Box<ImageManifest>),
    Digest(Digest),
}

fn next_manifest(json: &[u8]) -> Result<Next, Fault> {
    if let Ok(index) = ImageIndex::from_reader(json) {
        let ours =
            index.manifests().iter().find(|entry| entry.platform().is_some() && archive::for_this_platform(entry));
        let ours = ours.ok_or_else(|| Fault::bad("no image in it is for this platform"))?;
        return Digest::parse(ours.digest().as_ref()).map(Next::Digest);
    }
    let manifest = ImageManifest::from_reader(json).map_err(|e| Fault::bad(format!("its manifest: {e}")))?;
    Ok(Next::Manifest(Box::new(manifest)))
}

/// With the causes, which is where "connection refused" stands.
fn explain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(e) = cause {
        let more = e.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = e.source();
    }
    text
}

fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// One provider for the whole program; whoever comes first sets it.
fn ensure_tls_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Lost a race against someone who set it: as good.
        let _already = rustls::crypto::ring::default_provider().install_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_does_not_go_on_for_ever() {
        let name = ImageName::parse("localhost/app:1").unwrap();
        let registry = Registry::of(&name, None);
        let error = registry.within::<()>(0, std::future::pending()).await.unwrap_err().to_string();
        assert!(error.contains("longer than 0 s"), "{error}");
        assert_eq!(registry.within(5, async { Ok(3) }).await.unwrap(), 3);
    }

    #[test]
    fn only_this_host_is_spoken_to_in_plain() {
        for registry in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9"] {
            assert!(is_loopback(registry), "{registry}");
        }
        for registry in ["docker.io", "localhost.example.org", "10.0.0.1:5000", "127.0.0.1.example.org:1"] {
            assert!(!is_loopback(registry), "{registry}");
        }
    }
}
