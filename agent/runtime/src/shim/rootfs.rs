//! The launcher's mount namespace: the container's root as an overlay of its image's layers, and copies of the mounts
//! whose propagation was asked for. It is the launcher's own and dies with it; the container's first process keeps
//! what it needs. So the host's mount table never sees a container, and nothing has to be unmounted.

use super::job::{Job, Propagated, ROOT, Root};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;

const LAYERS: &str = "layers";

/// Enters a new mount namespace and fills it. `folder` is the container's.
pub fn prepare(folder: &Path, job: &Job) -> Result<(), String> {
    let told = |doing: &str, error: &dyn std::fmt::Display| format!("{doing}: {error}");
    unshare(CloneFlags::CLONE_NEWNS).map_err(|error| told("making a mount namespace", &error))?;
    // Taken while the mounts still belong to the host's peer groups.
    let copies = job
        .propagated
        .iter()
        .map(|one| copy(one).map_err(|error| told(&format!("copying mount {}", one.source.display()), &error)))
        .collect::<Result<Vec<_>, _>>()?;
    remount(Path::new("/"), MsFlags::MS_PRIVATE).map_err(|error| told("making mounts private", &error))?;
    for (one, copy) in job.propagated.iter().zip(copies) {
        stage(one, copy).map_err(|error| told(&format!("staging mount {}", one.source.display()), &error))?;
    }
    match &job.root {
        Root::Overlay(layers) => overlay(folder, layers).map_err(|error| told("mounting the root overlay", &error)),
    }
}

fn remount(path: &Path, propagation: MsFlags) -> nix::Result<()> {
    mount(None::<&str>, path, None::<&str>, propagation | MsFlags::MS_REC, None::<&str>)
}

fn copy(one: &Propagated) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    Ok(open_tree(rustix::fs::CWD, &one.source, flags)?)
}

fn stage(one: &Propagated, copy: OwnedFd) -> io::Result<()> {
    if one.source.is_dir() {
        fs::create_dir_all(&one.staged)?;
    } else {
        if let Some(parent) = one.staged.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::File::create(&one.staged)?;
    }
    move_mount(&copy, "", rustix::fs::CWD, &one.staged, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    if !one.bidirectional {
        remount(&one.staged, MsFlags::MS_SLAVE)?;
    }
    Ok(())
}

/// Layers are named by short links: the kernel takes no more than a page of options.
fn overlay(folder: &Path, layers: &[std::path::PathBuf]) -> io::Result<()> {
    if layers.is_empty() {
        return Err(io::Error::other("the image has no layers"));
    }
    let links = folder.join(LAYERS);
    fs::create_dir_all(&links)?;
    for (index, layer) in layers.iter().enumerate() {
        symlink(layer, links.join(index.to_string()))?;
    }
    for part in ["upper", "work", ROOT] {
        fs::create_dir_all(folder.join(part))?;
    }
    std::env::set_current_dir(folder)?;
    let lower: Vec<String> = (0..layers.len()).map(|index| format!("{LAYERS}/{index}")).collect();
    // Volatile: a container never starts twice, so what it wrote need not survive the host; syncs cost nothing then.
    let options = format!("lowerdir={},upperdir=upper,workdir=work,volatile", lower.join(":"));
    mount(Some("overlay"), ROOT, Some("overlay"), MsFlags::empty(), Some(options.as_str()))?;
    std::env::set_current_dir("/")
}
