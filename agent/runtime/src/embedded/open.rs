//! Opening the runtime: what the host must have, and finding again what an earlier agent left running.

use super::files::{CONTAINER, Files, SANDBOX};
use super::nursery::Nursery;
use super::records::{self, ContainerRecord, SandboxRecord};
use super::table::Table;
use super::{EmbeddedConfig, Inner, follow, io_failed, sandboxes, wire};
use crate::cgroup::Cgroups;
use crate::shim::job::{EXIT, Exit, LOCK, RUNNING, Running};
use crate::spec::Host;
use crate::{Resources, RuntimeError, SandboxId, State, durable, limits, privilege};
use nix::unistd::geteuid;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::broadcast;

/// Version 1 controllers that a container sees of itself.
const SHOWN: [&str; 5] = ["cpu", "cpuacct", "cpuset", "memory", "pids"];

pub fn open(config: EmbeddedConfig) -> Result<Arc<Inner>, RuntimeError> {
    if !geteuid().is_root() {
        return Err(RuntimeError::Host {
            what: "containers need root".to_owned(),
            fix: "run it as root, e.g. with sudo".to_owned(),
        });
    }
    let cgroups = Cgroups::detect()?;
    let files = Files::new(&config.dir);
    for folder in [files.sandboxes(), files.containers()] {
        // Nobody else's business: environments hold secrets, and so may logs.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(io_failed(format!("making {}", folder.display())))?;
    }
    let host = host(&cgroups, &config.cgroup_root)?;
    cgroups.ensure_everywhere(&host.shim_cgroup, &Resources::default())?;
    let inner = Arc::new(Inner {
        files,
        nursery: Nursery::new(config.shim_command.clone(), host.shim_cgroup.clone()),
        shim_command: config.shim_command,
        cgroups,
        host,
        images: config.images,
        table: Table::default(),
        events: broadcast::Sender::new(limits::EVENTS),
    });
    find_sandboxes(&inner)?;
    find_containers(&inner)?;
    Ok(inner)
}

fn host(cgroups: &Cgroups, root: &str) -> Result<Host, RuntimeError> {
    let capabilities = privilege::available()
        .map_err(|why| RuntimeError::Io { doing: "reading this process's capabilities".to_owned(), why })?;
    let controllers = match cgroups {
        Cgroups::V1(mounts) => Some(
            SHOWN.iter().filter_map(|&name| Some((name.to_owned(), mounts.get(name)?.clone()))).collect::<Vec<_>>(),
        ),
        Cgroups::V2(_) => None,
    };
    Ok(Host { capabilities, controllers, shim_cgroup: format!("{}/shims", root.trim_matches('/')) })
}

fn find_sandboxes(inner: &Inner) -> Result<(), RuntimeError> {
    for (name, folder) in folders(&inner.files.sandboxes())? {
        match read::<SandboxRecord>(&folder.join(SANDBOX))? {
            Some(record) => inner.table.add_sandbox(record),
            // Half made, or half removed.
            None => sandboxes::sweep(inner, &SandboxId(name))?,
        }
    }
    Ok(())
}

fn find_containers(inner: &Arc<Inner>) -> Result<(), RuntimeError> {
    for (name, folder) in folders(&inner.files.containers())? {
        match read::<ContainerRecord>(&folder.join(CONTAINER))? {
            Some(record) => find_container(inner, record, &folder)?,
            None => {
                inner.images.release(&name)?;
                durable::remove_tree(&folder).map_err(io_failed(format!("deleting {}", folder.display())))?;
            }
        }
    }
    Ok(())
}

/// What became of a container while nobody looked.
fn find_container(inner: &Arc<Inner>, record: ContainerRecord, folder: &Path) -> Result<(), RuntimeError> {
    let id = record.id.clone();
    if let Some(exit) = read::<Exit>(&folder.join(EXIT))? {
        inner.table.add_container(record, records::exited(exit));
        return Ok(());
    }
    // Not synced, so a power cut may have damaged it; then nothing runs either.
    let running = durable::read::<Running>(&folder.join(RUNNING)).unwrap_or_default();
    let stale = inner.table.sandbox(&record.sandbox).map_or(true, |sandbox| !sandboxes::is_ready(inner, &sandbox));
    let state = running.as_ref().map_or(State::Created, records::running);
    inner.table.add_container(record, state);
    match wire::connect(folder) {
        Ok(stream) => follow::adopt(inner, id, stream),
        // A lock without a shim: it was started, and is gone. Without its sandbox it can't be started any more.
        Err(_) if stale || running.is_some() || folder.join(LOCK).exists() => {
            // One container's trouble must not keep the agent from the others.
            if let Err(error) = follow::settle_now(inner, &id) {
                follow::settle_later(inner, id, &error);
            }
            Ok(())
        }
        Err(_) => Ok(()),
    }
}

fn folders(parent: &Path) -> Result<Vec<(String, PathBuf)>, RuntimeError> {
    let doing = || format!("listing {}", parent.display());
    let mut all = Vec::new();
    for entry in fs::read_dir(parent).map_err(io_failed(doing()))? {
        let entry = entry.map_err(io_failed(doing()))?;
        if let Ok(name) = entry.file_name().into_string() {
            all.push((name, entry.path()));
        }
    }
    all.sort();
    Ok(all)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, RuntimeError> {
    durable::read(path).map_err(io_failed(format!("reading {}", path.display())))
}
