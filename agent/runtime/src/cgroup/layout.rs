//! Which hierarchies the host has mounted, and the life of a group in them: made, joined, emptied, deleted.

use super::failed;
use crate::limits::CGROUP_KILL;
use crate::{Resources, RuntimeError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

/// Version 1 controllers whose groups we make ourselves; libcontainer adds the container's in the others.
const OURS: [&str; 4] = ["memory", "cpu", "cpuacct", "pids"];
/// A version 2 hierarchy beside version 1 controllers; Docker makes groups there, too.
const UNIFIED: &str = "unified";
/// The hierarchies by which systemd keeps its services apart.
const SERVICES: [&str; 2] = ["name=systemd", UNIFIED];
/// Version 2 controllers that pods need.
const NEEDED: [&str; 3] = ["cpu", "memory", "pids"];
/// Pause between two looks at a group that is being emptied: the kernel tells nobody.
const EMPTYING: Duration = Duration::from_millis(2);

/// The host's control group hierarchies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cgroups {
    /// Where each controller is mounted; named hierarchies as `name=x`, a version 2 one beside them as `unified`.
    V1(BTreeMap<String, PathBuf>),
    V2(PathBuf),
}

impl Cgroups {
    pub fn detect() -> Result<Self, RuntimeError> {
        let mounts = fs::read_to_string("/proc/self/mounts").map_err(failed("reading /proc/self/mounts".into()))?;
        Self::parse(&mounts).ok_or_else(|| RuntimeError::Host {
            what: "no control groups are mounted".into(),
            fix: "mount cgroup2 on /sys/fs/cgroup (or the version 1 controllers memory, cpu and pids below it)".into(),
        })
    }

    /// From the text of `/proc/self/mounts`. Version 1 wins where both are there: then it has the controllers.
    fn parse(mounts: &str) -> Option<Self> {
        let mut v1 = BTreeMap::new();
        let mut v2 = None;
        for line in mounts.lines() {
            let mut fields = line.split(' ').skip(1);
            let (Some(point), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            match kind {
                "cgroup" => v1.extend(
                    options
                        .split(',')
                        .filter(|option| is_controller(option))
                        .map(|option| (option.to_owned(), PathBuf::from(point))),
                ),
                "cgroup2" => v2 = v2.or_else(|| Some(PathBuf::from(point))),
                _ => {}
            }
        }
        if !v1.contains_key("memory") {
            return v2.map(Cgroups::V2);
        }
        v1.extend(v2.map(|point| (UNIFIED.to_owned(), point)));
        Some(Cgroups::V1(v1))
    }

    /// Every hierarchy's folder of a group, each once.
    pub(super) fn folders(&self, path: &str) -> Result<Vec<PathBuf>, RuntimeError> {
        let relative = relative(path)?;
        Ok(match self {
            Cgroups::V1(mounts) => {
                let mut roots: Vec<&PathBuf> = mounts.values().collect();
                roots.dedup();
                roots.into_iter().map(|root| root.join(&relative)).collect()
            }
            Cgroups::V2(root) => vec![root.join(&relative)],
        })
    }

    /// The folder of one controller, if it is mounted.
    pub fn folder(&self, controller: &str, path: &str) -> Option<PathBuf> {
        let relative = relative(path).ok()?;
        match self {
            Cgroups::V1(mounts) => mounts.get(controller).map(|root| root.join(relative)),
            Cgroups::V2(root) => Some(root.join(relative)),
        }
    }

    /// Makes the group and sets its limits.
    pub fn ensure(&self, path: &str, resources: &Resources) -> Result<(), RuntimeError> {
        match self {
            Cgroups::V1(_) => {
                for controller in OURS {
                    if let Some(folder) = self.folder(controller, path) {
                        fs::create_dir_all(&folder).map_err(failed(format!("making cgroup {}", folder.display())))?;
                    }
                }
            }
            Cgroups::V2(root) => make_v2(root, &relative(path)?)?,
        }
        super::limit::set(self, path, resources)
    }

    /// As [`Self::ensure`], in every hierarchy there is: for processes that must not share any group with the agent.
    pub fn ensure_everywhere(&self, path: &str, resources: &Resources) -> Result<(), RuntimeError> {
        self.ensure(path, resources)?;
        let Cgroups::V1(mounts) = self else { return Ok(()) };
        // Only there would a service manager find what it should end with the agent.
        for name in SERVICES.iter().filter(|name| mounts.contains_key(**name)) {
            if let Some(folder) = self.folder(name, path) {
                fs::create_dir_all(&folder).map_err(failed(format!("making cgroup {}", folder.display())))?;
            }
        }
        Ok(())
    }

    /// Moves a process into the group, in every hierarchy where the group exists.
    pub fn join(&self, path: &str, pid: Pid) -> Result<(), RuntimeError> {
        for folder in self.folders(path)?.into_iter().filter(|folder| folder.is_dir()) {
            let file = folder.join("cgroup.procs");
            fs::write(&file, pid.to_string()).map_err(failed(format!("writing {}", file.display())))?;
        }
        Ok(())
    }

    /// The processes in the group itself.
    pub fn processes(&self, path: &str) -> Vec<Pid> {
        let folder = match self {
            Cgroups::V1(_) => self.folder("pids", path).or_else(|| self.folder("memory", path)),
            Cgroups::V2(_) => self.folder("", path),
        };
        folder.map(|folder| processes_in(&folder)).unwrap_or_default()
    }

    /// Sends SIGKILL to everything in the group, without waiting.
    pub fn kill(&self, path: &str) {
        if let Cgroups::V2(root) = self
            && let Ok(relative) = relative(path)
            && fs::write(root.join(relative).join("cgroup.kill"), "1").is_ok()
        {
            return;
        }
        for pid in self.processes(path) {
            // Gone already is what we want.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }

    /// Kills what is in the group and the groups below, and deletes them. No error if it is not there.
    pub fn remove(&self, path: &str) -> Result<(), RuntimeError> {
        let deadline = Instant::now() + CGROUP_KILL;
        for folder in self.folders(path)? {
            remove_tree(&folder, deadline).map_err(failed(format!("deleting cgroup {}", folder.display())))?;
        }
        Ok(())
    }
}

fn is_controller(option: &str) -> bool {
    const KNOWN: [&str; 13] = [
        "blkio",
        "cpu",
        "cpuacct",
        "cpuset",
        "devices",
        "freezer",
        "hugetlb",
        "memory",
        "net_cls",
        "net_prio",
        "perf_event",
        "pids",
        "rdma",
    ];
    KNOWN.contains(&option) || option.starts_with("name=")
}

/// A group's path must stay below the root, whoever made it up.
fn relative(path: &str) -> Result<PathBuf, RuntimeError> {
    let path = Path::new(path.trim_start_matches('/'));
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    if plain && path.components().next().is_some() {
        Ok(path.to_owned())
    } else {
        Err(RuntimeError::Io { doing: format!("naming cgroup {path:?}"), why: "not a plain relative path".into() })
    }
}

/// On version 2 a controller reaches a group only if every group above passes it on.
fn make_v2(root: &Path, relative: &Path) -> Result<(), RuntimeError> {
    let mut folder = root.to_owned();
    for part in relative.components() {
        let available = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
        for controller in NEEDED.iter().filter(|needed| available.split_whitespace().any(|one| one == **needed)) {
            let file = folder.join("cgroup.subtree_control");
            fs::write(&file, format!("+{controller}")).map_err(failed(format!("writing {}", file.display())))?;
        }
        folder.push(part);
        if let Err(error) = fs::create_dir(&folder)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(failed(format!("making cgroup {}", folder.display()))(error));
        }
    }
    Ok(())
}

fn processes_in(folder: &Path) -> Vec<Pid> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).map(Pid::from_raw).collect()
}

fn remove_tree(folder: &Path, deadline: Instant) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path(), deadline)?;
        }
    }
    loop {
        for pid in processes_in(folder) {
            // Gone already is what we want.
            let _ = kill(pid, Signal::SIGKILL);
        }
        match fs::remove_dir(folder) {
            Err(error) if error.raw_os_error() == Some(nix::libc::EBUSY) && Instant::now() < deadline => {
                std::thread::sleep(EMPTYING);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_read_from_the_mount_table() {
        let v2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";
        assert_eq!(Cgroups::parse(v2), Some(Cgroups::V2("/sys/fs/cgroup".into())));
        let v1 = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                  cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0\n\
                  cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n\
                  cgroup /sys/fs/cgroup/systemd cgroup rw,xattr,name=systemd 0 0\n\
                  cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let Some(Cgroups::V1(mounts)) = Cgroups::parse(v1) else { panic!("version 1 was not seen") };
        assert_eq!(mounts.keys().collect::<Vec<_>>(), ["cpu", "cpuacct", "memory", "name=systemd", "unified"]);
        assert_eq!(Cgroups::V1(mounts).folders("a/b").unwrap().len(), 4, "a shared mount counts once");
        assert_eq!(Cgroups::parse("proc /proc proc rw 0 0\nnonsense"), None);
    }

    #[test]
    fn a_path_stays_below_the_root() {
        for bad in ["", "/", "..", "a/../..", "./a/.."] {
            assert!(relative(bad).is_err(), "{bad}");
        }
        assert_eq!(relative("/coracle/pod1").unwrap(), Path::new("coracle/pod1"));
    }

    /// Needs root and a version 2 hierarchy; controllers or not, its groups can be made, joined, emptied and deleted.
    #[test]
    fn version_2_groups_live_and_die() {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
        let (Some(mount), true) = (mount, nix::unistd::geteuid().is_root()) else {
            println!("skipped: this test needs root and cgroup2");
            return;
        };
        let cgroups = Cgroups::V2(mount.split(' ').nth(1).unwrap().into());
        let path = format!("coracle-unit-{}/a/b", std::process::id());
        cgroups.ensure(&path, &Resources::default()).unwrap();
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        cgroups.join(&path, pid).unwrap();
        assert_eq!(cgroups.processes(&path), [pid]);
        cgroups.kill(&path);
        assert!(!child.wait().unwrap().success());
        let root = path.split('/').next().unwrap();
        cgroups.remove(root).unwrap();
        assert!(!cgroups.folder("", root).unwrap().exists());
        cgroups.remove(root).unwrap();
    }
}
