//! Images through Docker.

use super::error::{engine, of, status, text};
use super::state;
use crate::images::{ImageName, Sought};
use crate::{Image, RegistryAuth, RuntimeError};
use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::models::{BuildInfo, ImageInspect};
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ImportImageOptions, ListImagesOptions, RemoveImageOptionsBuilder,
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use std::path::Path;
use tokio_util::io::ReaderStream;

pub async fn list(docker: &Docker) -> Result<Vec<Image>, RuntimeError> {
    let found = docker.list_images(None::<ListImagesOptions>).await.map_err(engine)?;
    let mut images = Vec::with_capacity(found.len());
    for summary in found {
        // One that went between the two looks is no image any more.
        images.extend(find(docker, &summary.id).await?);
    }
    Ok(images)
}

pub async fn find(docker: &Docker, name: &str) -> Result<Option<Image>, RuntimeError> {
    match docker.inspect_image(name).await {
        Ok(found) => Ok(Some(image(found))),
        Err(e) if status(&e) == Some(404) => Ok(None),
        Err(e) => Err(engine(e)),
    }
}

/// By any name Kubernetes accepts; Docker would take the start of an id for one too.
pub async fn find_named(docker: &Docker, name: &str) -> Result<Option<Image>, RuntimeError> {
    match Sought::parse(name)? {
        Sought::Id(id) => find(docker, id.as_str()).await,
        Sought::Name(name) => find(docker, &name.to_string()).await,
    }
}

fn image(found: ImageInspect) -> Image {
    let full = |name: String| ImageName::parse(&name).map_or(name, |name| name.to_string());
    Image {
        id: found.id.unwrap_or_default(),
        names: found.repo_tags.unwrap_or_default().into_iter().map(full).collect(),
        digests: found.repo_digests.unwrap_or_default().into_iter().map(full).collect(),
        bytes: found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        created_at: found.created.as_deref().and_then(|at| state::time(Some(at))),
        user: found.config.and_then(|config| config.user).filter(|user| !user.is_empty()),
    }
}

pub async fn pull(docker: &Docker, name: &str, auth: Option<&RegistryAuth>) -> Result<Image, RuntimeError> {
    let name = ImageName::parse(name)?;
    let credentials = auth.map(|auth| DockerCredentials {
        username: Some(auth.username.clone()),
        password: Some(auth.password.clone()),
        serveraddress: Some(name.registry.clone()),
        ..DockerCredentials::default()
    });
    let options = CreateImageOptionsBuilder::default().from_image(&name.to_string()).build();
    let mut progress = Box::pin(docker.create_image(Some(options), None, credentials));
    while let Some(step) = progress.next().await {
        step.map_err(|e| RuntimeError::Pull { name: name.to_string(), why: text(&e) })?;
    }
    let missing = || RuntimeError::Pull { name: name.to_string(), why: "it is not there after the pull".to_owned() };
    find(docker, &name.to_string()).await?.ok_or_else(missing)
}

/// By name: a container that uses the image keeps it, without the name.
pub async fn remove(docker: &Docker, name: &str) -> Result<(), RuntimeError> {
    Sought::parse(name)?;
    let options = RemoveImageOptionsBuilder::default().force(true).build();
    docker.remove_image(name, Some(options), None).await.map(drop).map_err(of("image", name))
}

/// What `docker save` wrote; newer Dockers take OCI archives too.
pub async fn load_file(docker: &Docker, path: &Path) -> Result<Vec<Image>, RuntimeError> {
    let doing = || format!("opening {}", path.display());
    let file =
        tokio::fs::File::open(path).await.map_err(|e| RuntimeError::Io { doing: doing(), why: e.to_string() })?;
    load(docker, ReaderStream::new(file), &path.display().to_string()).await
}

pub async fn load<S>(docker: &Docker, archive: S, origin: &str) -> Result<Vec<Image>, RuntimeError>
where
    S: futures::Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
{
    let bad = |why: String| RuntimeError::BadImage { origin: origin.to_owned(), why };
    let steps = docker.import_image_stream(ImportImageOptions::default(), archive, None);
    let steps: Vec<BuildInfo> = steps.try_collect().await.map_err(|e| bad(text(&e)))?;
    let mut images = Vec::new();
    for name in steps.iter().filter_map(|step| loaded(step.stream.as_deref()?)) {
        images.extend(find(docker, name).await?);
    }
    match images.is_empty() {
        true => Err(bad("Docker found no image in it".to_owned())),
        false => Ok(images),
    }
}

/// `Loaded image: name` or `Loaded image ID: sha256:…`.
fn loaded(line: &str) -> Option<&str> {
    let line = line.trim();
    line.strip_prefix("Loaded image: ").or_else(|| line.strip_prefix("Loaded image ID: "))
}
