//! Makes layers and archives for tests, honest and hostile ones.
#![allow(dead_code, clippy::unwrap_used)]

use coracle_runtime::images::{Digest, ImageStore};
use serde_json::json;
use std::io::Write;
use std::path::Path;
use tar::{EntryType, Header};

/// A tar stream being written; names are taken as they are, however bad.
#[derive(Default)]
pub struct Layer(Vec<u8>);

impl Layer {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn file(self, path: &str, content: &[u8]) -> Self {
        self.entry(path, EntryType::Regular, content, |_| {})
    }

    pub fn folder(self, path: &str) -> Self {
        self.entry(path, EntryType::Directory, b"", |h| h.set_mode(0o755))
    }

    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, EntryType::Symlink, b"", |h| h.set_link_name_literal(target).unwrap())
    }

    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(path, EntryType::Link, b"", |h| h.set_link_name_literal(target).unwrap())
    }

    pub fn device(self, path: &str, kind: EntryType) -> Self {
        self.entry(path, kind, b"", |h| {
            h.set_device_major(8).unwrap();
            h.set_device_minor(0).unwrap();
        })
    }

    /// PAX records for the next entry.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest..).find(|n| n.to_string().len() + rest == *n).unwrap();
            body.extend(format!("{length} {key}=").as_bytes());
            body.extend(*value);
            body.push(b'\n');
        }
        self.entry("pax", EntryType::XHeader, &body, |_| {})
    }

    pub fn entry(mut self, path: &str, kind: EntryType, content: &[u8], edit: impl FnOnce(&mut Header)) -> Self {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        edit(&mut header);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn config(layers: &[Vec<u8>], marker: &str) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    serde_json::to_vec(&json!({
        "architecture": architecture, "os": "linux", "created": "2026-01-02T03:04:05Z",
        "config": {"User": "7:8", "Env": ["A=B"], "Cmd": ["/bin/x"], "Labels": {"marker": marker}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }))
    .unwrap()
}

/// What `docker save` writes.
pub fn docker_archive(path: &Path, names: &[&str], layers: &[Vec<u8>]) {
    let config = config(layers, "docker");
    let mut archive = Layer::new();
    let mut paths = Vec::new();
    for (n, layer) in layers.iter().enumerate() {
        paths.push(format!("{n}/layer.tar"));
        archive = archive.file(&paths[n], layer);
    }
    let config_name = format!("{}.json", Digest::of(&config).hex());
    let manifest = json!([{"Config": config_name, "RepoTags": names, "Layers": paths}]);
    let archive = archive.file(&config_name[..64 + 5], &config).file("manifest.json", manifest.to_string().as_bytes());
    std::fs::write(path, archive.finish()).unwrap();
}

/// An OCI layout as files by name. Layers are compressed.
pub fn oci_files(name: &str, layers: &[Vec<u8>]) -> Vec<(String, Vec<u8>)> {
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
    let descriptor = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": Digest::of(bytes).to_string(), "size": bytes.len()});
    let config = config(layers, "oci");
    let stored: Vec<Vec<u8>> = layers
        .iter()
        .enumerate()
        .map(|(n, layer)| if n % 2 == 0 { gzip(layer) } else { zstd::encode_all(&layer[..], 1).unwrap() })
        .collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": stored.iter().map(|l| descriptor("application/vnd.oci.image.layer.v1.tar+gzip", l)).collect::<Vec<_>>(),
    })
    .to_string()
    .into_bytes();
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string().into_bytes();
    let mut files = vec![
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), index),
    ];
    for bytes in stored.into_iter().chain([config, manifest]) {
        files.push((blob(&bytes), bytes));
    }
    files
}

pub fn write_folder(root: &Path, files: &[(String, Vec<u8>)]) {
    for (name, bytes) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

pub fn archive_of(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    files.iter().fold(Layer::new(), |layer, (name, bytes)| layer.file(name, bytes)).finish()
}

/// A store in a fresh folder; `None`, said once, where the test cannot run.
pub fn store() -> Option<(tempfile::TempDir, ImageStore)> {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "images are unpacked as root");
        println!("skipped: images are unpacked as root");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = ImageStore::open(&dir.path().join("images")).unwrap();
    Some((dir, store))
}

/// Everything below a folder, by path.
pub fn tree(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.strip_prefix(root).unwrap().display().to_string());
            if path.is_dir() && !path.is_symlink() {
                left.push(path);
            }
        }
    }
    found.sort();
    found
}
