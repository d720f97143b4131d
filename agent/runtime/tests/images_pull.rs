//! Pulls from Debian's `docker-registry` on loopback, honest and damaged.
#![allow(clippy::unwrap_used)]

mod images_kit;

use coracle_runtime::images::{Digest, ImageStore, silent};
use coracle_runtime::{RegistryAuth, RuntimeError};
use images_kit::{Layer, config, gzip, store};
use oci_client::client::{Client, ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::{Reference, secrets};
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Registry {
    child: Child,
    address: SocketAddr,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// `password` makes it ask for user `robin`.
fn registry(dir: &Path, password: Option<&str>) -> Option<Registry> {
    if Command::new("docker-registry").arg("--version").stdout(Stdio::null()).status().is_err() {
        assert!(std::env::var_os("CI").is_none(), "docker-registry is not installed");
        println!("skipped: docker-registry is not installed");
        return None;
    }
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n",
        dir.join("registry").display()
    );
    if let Some(hash) = password {
        fs::write(dir.join("htpasswd"), format!("robin:{hash}\n")).unwrap();
        text += &format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", dir.join("htpasswd").display());
    }
    fs::write(dir.join("registry.yml"), text).unwrap();
    let child = Command::new("docker-registry")
        .arg("serve")
        .arg(dir.join("registry.yml"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let registry = Registry { child, address };
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "the registry does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(registry)
}

fn layers() -> Vec<Vec<u8>> {
    vec![Layer::new().file("one", &[1; 3_000_000]).finish(), Layer::new().file("two", b"2").finish()]
}

async fn push(address: SocketAddr, name: &str, auth: secrets::RegistryAuth) -> String {
    // Our own client may have come first.
    let _already = rustls::crypto::ring::default_provider().install_default();
    let client = Client::new(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() });
    let reference = Reference::with_tag(address.to_string(), name.to_owned(), "1".to_owned());
    let stored: Vec<ImageLayer> = layers().iter().map(|layer| ImageLayer::oci_v1_gzip(gzip(layer), None)).collect();
    let config = Config::oci_v1(config(&layers(), "pushed"), None);
    let pushed = client.push(&reference, &stored, config, &auth, None).await.unwrap();
    pushed.manifest_url.rsplit('/').next().unwrap().to_owned()
}

fn open(dir: &Path) -> ImageStore {
    ImageStore::open(&dir.join("images")).unwrap()
}

#[tokio::test]
async fn an_image_is_pulled_by_tag_and_by_digest() {
    let Some((dir, store)) = store() else { return };
    let Some(registry) = registry(dir.path(), None) else { return };
    push(registry.address, "team/app", secrets::RegistryAuth::Anonymous).await;
    let name = format!("{}/team/app:1", registry.address);
    let image = store.pull(&name, None, &silent()).await.unwrap();
    assert_eq!(image.names, std::slice::from_ref(&name));
    let dirs = store.lower_dirs(&image.id).unwrap();
    assert_eq!(
        (fs::read(dirs[0].join("two")).unwrap(), fs::read(dirs[1].join("one")).unwrap().len()),
        (b"2".to_vec(), 3_000_000)
    );
    // By digest, into a store that knows nothing.
    store.remove(&name).unwrap();
    assert!(store.list().unwrap().is_empty());
    let by_digest = image.digests[0].clone();
    let again = open(dir.path()).pull(&by_digest, None, &silent()).await.unwrap();
    assert_eq!((again.id, again.names, again.digests), (image.id, Vec::new(), vec![by_digest.clone()]));
    assert!(store.resolve(&by_digest).unwrap().is_some());
    // A second pull finds all in place.
    store.pull(&name, None, &silent()).await.unwrap();
    let missing = store.pull(&format!("{}/team/other:1", registry.address), None, &silent()).await;
    assert!(matches!(missing, Err(RuntimeError::Pull { .. })), "{missing:?}");
}

#[tokio::test]
async fn a_registry_that_asks_gets_the_password() {
    let Some((dir, store)) = store() else { return };
    // bcrypt of "secret".
    let hash = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";
    let Some(registry) = registry(dir.path(), Some(hash)) else { return };
    push(registry.address, "private", secrets::RegistryAuth::Basic("robin".to_owned(), "secret".to_owned())).await;
    let name = format!("{}/private:1", registry.address);
    let auth = |password: &str| RegistryAuth { username: "robin".to_owned(), password: password.to_owned() };
    for wrong in [None, Some(auth("guess"))] {
        let error = store.pull(&name, wrong.as_ref(), &silent()).await.unwrap_err();
        assert!(matches!(error, RuntimeError::Pull { .. }), "{error:?}");
        assert!(!error.to_string().contains("guess"));
    }
    store.pull(&name, Some(&auth("secret")), &silent()).await.unwrap();
}

#[tokio::test]
async fn a_registry_that_sends_something_else_is_not_believed() {
    let Some((dir, store)) = store() else { return };
    let Some(registry) = registry(dir.path(), None) else { return };
    let manifest = push(registry.address, "app", secrets::RegistryAuth::Anonymous).await;
    let name = format!("{}/app:1", registry.address);
    let blobs = dir.path().join("registry/docker/registry/v2/blobs/sha256");
    let data = |digest: &Digest| blobs.join(&digest.hex()[..2]).join(digest.hex()).join("data");
    let parts =
        [Digest::of(&gzip(&layers()[0])), Digest::of(&config(&layers(), "pushed")), Digest::parse(&manifest).unwrap()];
    for part in parts {
        let path = data(&part);
        let whole = fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        fs::write(&path, damaged).unwrap();
        let error = store.pull(&name, None, &silent()).await.unwrap_err();
        assert!(matches!(error, RuntimeError::Pull { .. } | RuntimeError::BadImage { .. }), "{error:?}");
        assert!(store.list().unwrap().is_empty());
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(images_kit::tree(&dir.path().join("images/layers")), Vec::<String>::new());
    store.pull(&name, None, &silent()).await.unwrap();
}

#[tokio::test]
async fn nobody_there_is_said_so() {
    let Some((_dir, store)) = store() else { return };
    let error = store.pull("127.0.0.1:1/nothing:1", None, &silent()).await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}
