//! A container's mounts: the kernel's file systems as every container has them, then the pod's volumes.

use super::Input;
use crate::shim::job::Propagated;
use crate::{Mount, Propagation, RuntimeError};
use oci_spec::runtime::Mount as OciMount;
use std::path::{Component, Path, PathBuf};

pub fn render(input: &Input<'_>, cgroup: &str) -> Result<(Vec<OciMount>, Vec<Propagated>), RuntimeError> {
    let mut mounts = system(input, cgroup);
    let mut propagated = Vec::new();
    // Parents before children, whatever the pod's order; equal targets keep it.
    let mut volumes: Vec<&Mount> = input.container.mounts.iter().collect();
    volumes.sort_by_key(|mount| Path::new(&mount.target).components().count());
    for (index, mount) in volumes.into_iter().enumerate() {
        let target = target(&mount.target)?;
        mounts.retain(|one| one.destination() != &target);
        let source = match mount.propagation {
            Propagation::Private => mount.source.clone(),
            other => {
                let staged = input.folder.join("mounts").join(index.to_string());
                propagated.push(Propagated {
                    source: mount.source.clone(),
                    staged: staged.clone(),
                    bidirectional: other == Propagation::Bidirectional,
                });
                staged
            }
        };
        let access = if mount.read_only { "ro" } else { "rw" };
        mounts.push(one(&target, "bind", &source, &["rbind", access]));
    }
    Ok((mounts, propagated))
}

fn target(text: &str) -> Result<PathBuf, RuntimeError> {
    let path = Path::new(text);
    let plain = path.is_absolute() && path.components().all(|part| !matches!(part, Component::ParentDir));
    if plain && path.components().count() > 1 {
        Ok(path.components().collect())
    } else {
        Err(RuntimeError::Start(format!("mount target {text:?} is not an absolute path below the root")))
    }
}

fn system(input: &Input<'_>, cgroup: &str) -> Vec<OciMount> {
    let privileged = input.container.security.privileged;
    let sys = if privileged { "rw" } else { "ro" };
    let at = |path: &str, kind: &str, options: &[&str]| one(Path::new(path), kind, Path::new(kind), options);
    let mut mounts = vec![
        at("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        at("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        at("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        one(Path::new("/dev/shm"), "bind", &input.namespaces.shm, &["rbind", "rw", "nosuid", "noexec", "nodev"]),
        sysfs(input, sys),
    ];
    // The host's queues can't be mounted anew; they belong to its IPC namespace.
    mounts.insert(3, at("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
    match &input.host.controllers {
        None => mounts.push(at("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", sys])),
        Some(controllers) => {
            let tmpfs = &["nosuid", "noexec", "nodev", "mode=755", "size=64k"];
            mounts.push(at("/sys/fs/cgroup", "tmpfs", tmpfs));
            for (name, root) in controllers {
                let target = Path::new("/sys/fs/cgroup").join(name);
                mounts.push(one(&target, "bind", &root.join(cgroup), &["rbind", "nosuid", "noexec", "nodev", sys]));
            }
        }
    }
    mounts
}

/// A new sysfs shows the network namespace it is mounted from, so the host's network needs the host's sysfs.
fn sysfs(input: &Input<'_>, access: &str) -> OciMount {
    let options = ["nosuid", "noexec", "nodev", access];
    if input.namespaces.net.is_some() {
        one(Path::new("/sys"), "sysfs", Path::new("sysfs"), &options)
    } else {
        let options = ["rbind", "nosuid", "noexec", "nodev", access];
        one(Path::new("/sys"), "bind", Path::new("/sys"), &options)
    }
}

fn one(target: &Path, kind: &str, source: &Path, options: &[&str]) -> OciMount {
    let mut mount = OciMount::default();
    mount
        .set_destination(target.to_owned())
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(source.to_owned()))
        .set_options(Some(options.iter().map(|&option| option.to_owned()).collect()));
    mount
}
