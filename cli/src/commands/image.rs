//! `coracle image`: the images of this machine's cluster. Works on the store itself, whether or not the cluster runs.

use super::DataDir;
use crate::host;
use crate::node::images_dir;
use anyhow::{Context, Result};
use coracle_runtime::images::ImageStore;
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
        let store = ImageStore::open(&images_dir(&data_dir))?;
        match self.action {
            Action::Import { file } => {
                let bar = spinner(&format!("reading {}", file.display()));
                let images = store.import(&file, &|step| bar.set_message(step.to_string()));
                bar.finish_and_clear();
                for image in images? {
                    println!("{}", image.names.first().unwrap_or(&image.id));
                }
            }
            Action::Pull { name } => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let bar = spinner(&format!("pulling {name}"));
                let image = runtime.block_on(store.pull(&name, None, &|step| bar.set_message(step.to_string())));
                bar.finish_and_clear();
                println!("{}", image?.id);
            }
            Action::Tag { image, name } => {
                store.tag(&image, &name)?;
            }
            Action::Ls => list(&store)?,
            Action::Rm { names } => {
                for name in names {
                    store.remove(&name).with_context(|| format!("removing {name}"))?;
                }
            }
        }
        Ok(())
    }
}

fn list(store: &ImageStore) -> Result<()> {
    println!("{:<50} {:<20} {:>10}", "NAME", "ID", "SIZE");
    for image in store.list()? {
        let id = image.id.trim_start_matches("sha256:").get(..12).unwrap_or(&image.id).to_owned();
        for name in &image.names {
            println!("{name:<50} {id:<20} {:>10}", HumanBytes(image.bytes).to_string());
        }
        if image.names.is_empty() {
            println!("{:<50} {id:<20} {:>10}", "<none>", HumanBytes(image.bytes).to_string());
        }
    }
    Ok(())
}

fn spinner(message: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(message.to_owned());
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    bar
}
