//! The demo images for Docker: the same pieces as in our own store, as an archive that Docker loads. The sandbox's own
//! image is the same under another name, so that nobody's tag changes it.

use super::images;
use crate::RuntimeError;
use crate::images::Digest;
use crate::images::builtin::{self, Content, Piece};
use bollard::Docker;
use bollard::query_parameters::TagImageOptionsBuilder;
use sha2::Digest as _;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use tar::{EntryType, Header};
use tokio_util::io::ReaderStream;

const PAUSE: &str = "coracle/pause";

/// Loads them unless they are there and of this very program. Returns the name of the sandbox's image.
pub async fn ensure(docker: &Docker, program: &Path, scratch: &Path) -> Result<String, RuntimeError> {
    let stamp = builtin::stamp_of(program)?;
    let pause = format!("{PAUSE}:{}", &stamp.hex()[..12]);
    let found = images::find(docker, &pause).await?;
    let demo = images::find(docker, builtin::REPOSITORY_V1).await?;
    if found.is_some() && found.map(|image| image.id) == demo.map(|image| image.id) {
        return Ok(pause);
    }
    let (path, dir) = (program.to_owned(), scratch.to_owned());
    let archive = tokio::task::spawn_blocking(move || archive(&path, &dir))
        .await
        .map_err(|e| RuntimeError::Io { doing: "making the built-in image".to_owned(), why: e.to_string() })??;
    let file = tokio::fs::File::from_std(archive);
    images::load(docker, ReaderStream::new(file), "the built-in image").await?;
    let (repository, tag) = pause.split_once(':').expect("it was just put together");
    let options = TagImageOptionsBuilder::default().repo(repository).tag(tag).build();
    docker.tag_image(builtin::REPOSITORY_V1, Some(options)).await.map_err(super::error::engine)?;
    Ok(pause)
}

/// In the form of `docker save`, in a nameless file.
fn archive(program: &Path, scratch: &Path) -> Result<File, RuntimeError> {
    let failed = |e: io::Error| RuntimeError::Io { doing: "making the built-in image".to_owned(), why: e.to_string() };
    let pieces = builtin::pieces_of(program)?;
    let layer = layer(program, scratch, &pieces).map_err(failed)?;
    let diff_id = digest_of(&layer).map_err(failed)?;
    let configs = builtin::VERSIONS.map(|version| (version, builtin::configuration(version, &diff_id)));
    write_archive(scratch, layer, &configs).map_err(failed)
}

fn write_archive(scratch: &Path, mut layer: File, configs: &[(&str, Vec<u8>)]) -> io::Result<File> {
    let mut archive = tar::Builder::new(tempfile::tempfile_in(scratch)?);
    let size = layer.seek(io::SeekFrom::End(0))?;
    layer.rewind()?;
    archive.append_data(&mut header(EntryType::Regular, 0o644, size), "layer.tar", &layer)?;
    let mut manifest = Vec::new();
    for (version, config) in configs {
        let name = format!("{}.json", Digest::of(config).hex());
        archive.append_data(&mut header(EntryType::Regular, 0o644, config.len() as u64), &name, &config[..])?;
        let tags = [format!("{}:{version}", builtin::REPOSITORY)];
        manifest.push(serde_json::json!({"Config": name, "RepoTags": tags, "Layers": ["layer.tar"]}));
    }
    let manifest = serde_json::Value::from(manifest).to_string();
    archive.append_data(
        &mut header(EntryType::Regular, 0o644, manifest.len() as u64),
        "manifest.json",
        manifest.as_bytes(),
    )?;
    let mut file = archive.into_inner()?;
    file.flush()?;
    file.rewind()?;
    Ok(file)
}

fn layer(program: &Path, scratch: &Path, pieces: &[Piece]) -> io::Result<File> {
    let mut layer = tar::Builder::new(tempfile::tempfile_in(scratch)?);
    for piece in pieces {
        let mut add_file = |source: &Path| {
            let file = File::open(source)?;
            let size = file.metadata()?.len();
            layer.append_data(&mut header(EntryType::Regular, piece.mode, size), &piece.path, file)
        };
        match &piece.content {
            Content::Program => add_file(program)?,
            Content::CopyOf(source) => add_file(source)?,
            Content::Folder => {
                layer.append_data(&mut header(EntryType::Directory, piece.mode, 0), &piece.path, io::empty())?
            }
            Content::Text(text) => {
                let mut header = header(EntryType::Regular, piece.mode, text.len() as u64);
                layer.append_data(&mut header, &piece.path, text.as_bytes())?;
            }
        }
    }
    layer.into_inner()
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header
}

fn digest_of(mut file: &File) -> io::Result<Digest> {
    file.rewind()?;
    let mut hash = sha2::Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Digest::from_hex(&hex).expect("a digest has this form"))
}
