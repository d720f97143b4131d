//! The demo images, assembled from the running program itself: no registry, no archive, no build tool. Both versions
//! share one layer and differ in their configuration.

mod elf;
mod files;

use super::digest::Digest;
use super::fault::{errno, io_error};
use super::index::Record;
use super::layers::{LayerRecord, boot_id};
use super::name::ImageName;
use super::store::ImageStore;
use crate::RuntimeError;
use oci_spec::image::{ConfigBuilder, ImageConfiguration, ImageConfigurationBuilder, RootFsBuilder};
use std::fs::File;
use std::path::{Path, PathBuf};

pub use files::{Content, Piece};

pub const REPOSITORY: &str = "docker.io/coracle/demo";
/// The first of them.
pub const REPOSITORY_V1: &str = "docker.io/coracle/demo:v1";
pub const VERSIONS: [&str; 2] = ["v1", "v2"];
/// What the demo reads its version from.
pub const VERSION_ENV: &str = "DEMO_VERSION";

/// Makes `coracle/demo:v1` and `:v2` of the program `exe` (usually `/proc/self/exe`), unless they are there already and
/// of this very program. On the start path, so nothing of the layer is synced: its record says it is good for this boot
/// of the host only, and the next boot makes it anew.
pub fn ensure(store: &ImageStore, exe: &Path) -> Result<(), RuntimeError> {
    let (program, loader) = open(exe)?;
    let layer = stamp(&program, loader.as_deref())?;
    let index = store.read_index()?;
    let images = VERSIONS.map(|version| (name(version), configuration(version, &layer)));
    let known = |(name, config): &(ImageName, Vec<u8>)| {
        name.tagged().and_then(|tagged| index.names.get(&tagged)).is_some_and(|id| *id == Digest::of(config))
    };
    if images.iter().all(known) && store.layers().usable(&layer)? {
        return Ok(());
    }
    let working = store.work()?;
    let bytes = ensure_layer(store, &layer, &program, exe, loader.as_deref())?;
    let record = Record { chain: vec![layer], bytes, ..Record::default() };
    store.publish(&working, images.map(|(name, config)| (config, record.clone(), vec![name])).to_vec())?;
    drop(working);
    // The images of the program as it was before.
    store.collect()
}

fn ensure_layer(
    store: &ImageStore,
    id: &Digest,
    program: &File,
    exe: &Path,
    loader: Option<&Path>,
) -> Result<u64, RuntimeError> {
    let layers = store.layers();
    if layers.usable(id)? {
        return Ok(layers.record(id)?.map_or(0, |record| record.bytes));
    }
    let draft = layers.draft()?;
    let bytes = files::write(&draft.diff(), program, &files::pieces(exe, loader)?)?;
    let record = LayerRecord { diff_id: id.clone(), parent: None, bytes, boot: Some(boot_id()?) };
    layers.keep(draft, id, &record)?;
    Ok(bytes)
}

/// Stands for the layer's content, which would take longer to digest than to copy: another program has another inode,
/// size or time of writing, and a C library is replaced together with its loader.
fn stamp(program: &File, loader: Option<&Path>) -> Result<Digest, RuntimeError> {
    let of = |stat: rustix::fs::Stat| {
        // Not the time of change: a link to it, such as ours, changes that.
        format!("{}:{}:{}:{}.{:09}", stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec)
    };
    let own = rustix::fs::fstat(program).map_err(errno("looking at the program"))?;
    let loader = match loader {
        Some(path) => of(rustix::fs::stat(path).map_err(errno(format!("looking at {}", path.display())))?),
        None => "static".to_owned(),
    };
    Ok(Digest::of(format!("coracle demo layer 1\n{}\n{loader}\n", of(own)).as_bytes()))
}

/// What tells the images of one program from those of another.
pub fn stamp_of(exe: &Path) -> Result<Digest, RuntimeError> {
    let (program, loader) = open(exe)?;
    stamp(&program, loader.as_deref())
}

/// What is in the layer, for whoever packs it otherwise.
pub fn pieces_of(exe: &Path) -> Result<Vec<Piece>, RuntimeError> {
    let (_, loader) = open(exe)?;
    files::pieces(exe, loader.as_deref())
}

fn open(exe: &Path) -> Result<(File, Option<PathBuf>), RuntimeError> {
    let program = File::open(exe).map_err(io_error(format!("opening {}", exe.display())))?;
    let loader = elf::interpreter(&program).map_err(|fault| fault.of(exe.display()))?;
    Ok((program, loader))
}

fn name(version: &str) -> ImageName {
    ImageName::parse(&format!("{REPOSITORY}:{version}")).expect("a constant name")
}

/// The configuration of one version on the one layer.
pub fn configuration(version: &str, diff_id: &Digest) -> Vec<u8> {
    let config = ConfigBuilder::default()
        .entrypoint(vec!["/coracle".to_owned(), "demo".to_owned()])
        .env(vec!["PATH=/".to_owned(), format!("{VERSION_ENV}={version}")])
        .exposed_ports(vec!["8080/tcp".to_owned()])
        .working_dir("/".to_owned())
        .build()
        .expect("every field has a default");
    let rootfs = RootFsBuilder::default().typ("layers".to_owned()).diff_ids(vec![diff_id.to_string()]).build();
    let image: ImageConfiguration = ImageConfigurationBuilder::default()
        .config(config)
        .rootfs(rootfs.expect("both fields are set"))
        .build()
        .expect("every field has a default");
    serde_json::to_vec(&image).expect("a configuration is plain data")
}
