//! `coracle image`: the images of this machine's cluster. Works on the store itself (or on Docker, where the
//! node runs on it), whether or not the cluster runs.

use super::DataDir;
use crate::host;
use crate::node::{docker_in_use, images_dir};
use anyhow::{Context, Result, bail};
use coracle_runtime::images::ImageStore;
use coracle_runtime::{Docker, Runtime};
use indicatif::{HumanBytes, ProgressBar};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Image {
    #[command(flatten)]
    data: DataDir,
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Read an image from an archive of `docker save`, an OCI archive, or an OCI layout directory.
    Import { file: PathBuf },
    /// Fetch an image from its registry.
    Pull { name: String },
    /// Give an image another name.
    Tag { image: String, name: String },
    /// List the images.
    Ls,
    /// Take a name from an image; an image without names goes, once no container uses it.
    Rm {
        #[arg(required = true)]
        names: Vec<String>,
    },
}

impl Image {
    pub fn run(self) -> Result<()> {
        host::require_root()?;
        let data_dir = std::path::absolute(&self.data.data_dir)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match docker_in_use(&data_dir).await? {
                Some(docker) => self.action.on_docker(&docker).await,
                None => self.action.on_store(&ImageStore::open(&images_dir(&data_dir))?).await,
            }
        })
    }
}

impl Action {
    async fn on_store(self, store: &ImageStore) -> Result<()> {
        match self {
            Self::Import { file } => {
                let bar = spinner(&format!("reading {}", file.display()));
                let images = store.import(&file, &|step| bar.set_message(step.to_string()));
                bar.finish_and_clear();
                say_names(&images?);
            }
            Self::Pull { name } => {
                let bar = spinner(&format!("pulling {name}"));
                let image = store.pull(&name, None, &|step| bar.set_message(step.to_string())).await;
                bar.finish_and_clear();
                println!("{}", image?.id);
            }
            Self::Tag { image, name } => {
                store.tag(&image, &name)?;
            }
            Self::Ls => list(&store.list()?),
            Self::Rm { names } => {
                for name in names {
                    store.remove(&name).with_context(|| format!("removing {name}"))?;
                }
            }
        }
        Ok(())
    }

    /// The images of a node on Docker are Docker's.
    async fn on_docker(self, docker: &Docker) -> Result<()> {
        match self {
            Self::Import { file } => {
                let bar = spinner(&format!("loading {} into Docker", file.display()));
                let images = docker.import(&file).await;
                bar.finish_and_clear();
                say_names(&images?);
            }
            Self::Pull { name } => {
                let bar = spinner(&format!("Docker pulls {name}"));
                let image = docker.pull_image(&name, None).await;
                bar.finish_and_clear();
                println!("{}", image?.id);
            }
            Self::Tag { image, name } => {
                bail!("this node's images are Docker's; use `docker tag {image} {name}`")
            }
            Self::Ls => list(&docker.images().await?),
            Self::Rm { names } => {
                for name in names {
                    docker.remove_image(&name).await.with_context(|| format!("removing {name}"))?;
                }
            }
        }
        Ok(())
    }
}

fn say_names(images: &[coracle_runtime::Image]) {
    for image in images {
        println!("{}", image.names.first().unwrap_or(&image.id));
    }
}

fn list(images: &[coracle_runtime::Image]) {
    println!("{:<50} {:<20} {:>10}", "NAME", "ID", "SIZE");
    for image in images {
        let id = image.id.trim_start_matches("sha256:").get(..12).unwrap_or(&image.id).to_owned();
        for name in &image.names {
            println!("{name:<50} {id:<20} {:>10}", HumanBytes(image.bytes).to_string());
        }
        if image.names.is_empty() {
            println!("{:<50} {id:<20} {:>10}", "<none>", HumanBytes(image.bytes).to_string());
        }
    }
}

fn spinner(message: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(message.to_owned());
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    bar
}
