//! What this host must offer before anything is started, and the lock on a data directory.

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

pub fn require_root() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("coracle must run as root to make namespaces, mounts and cgroups; run it with sudo");
    }
    Ok(())
}

pub fn require_cgroups() -> Result<()> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").context("reading /proc/self/mounts")?;
    let mut kinds = mounts.lines().filter_map(|line| line.split(' ').nth(2));
    if !kinds.any(|kind| kind == "cgroup" || kind == "cgroup2") {
        bail!("no cgroup file system is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup");
    }
    Ok(())
}

/// Held for as long as a process works on a data directory.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

/// Who holds a data directory, if somebody does.
#[derive(Debug, PartialEq, Eq)]
pub enum Holder {
    Nobody,
    Process(i32),
}

impl DataLock {
    /// Makes the directory where it is missing and takes its lock.
    pub fn take(dir: &Path) -> Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .with_context(|| format!("making the data directory {}", dir.display()))?;
        let path = dir.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            // Only for the message: who holds it may not have written its pid yet.
            let _ = file.read_to_string(&mut pid);
            let pid = if pid.is_empty() { "unknown" } else { pid.trim() };
            bail!(
                "the data directory {} is in use by another process (pid {pid}); stop it with `coracle down --data-dir {}`, or choose another with --data-dir",
                dir.display(),
                dir.display()
            );
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            write!(file, "{}", std::process::id())
        };
        write(&mut file).with_context(|| format!("writing {}", path.display()))?;
        Ok(Self { _file: file })
    }

    /// Asks without taking.
    pub fn holder(dir: &Path) -> Result<Holder> {
        let path = dir.join("lock");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Holder::Nobody),
            Err(e) => return Err(e).with_context(|| format!("opening {}", path.display())),
        };
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return Ok(Holder::Nobody);
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let pid = text.trim().parse().with_context(|| format!("{}: {text:?} is no process id", path.display()))?;
        Ok(Holder::Process(pid))
    }
}

/// Held while ranges are chosen and claimed, so that two clusters that start at once do not take the same.
pub fn ranges_lock() -> Result<File> {
    let path = Path::new("/run/coracle.lock");
    let mut options = OpenOptions::new();
    let file = options.create(true).write(true).truncate(false).mode(0o600).open(path);
    let file = file.with_context(|| format!("opening {}", path.display()))?;
    flock(&file, FlockOperation::LockExclusive).with_context(|| format!("locking {}", path.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_has_one_holder() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(DataLock::holder(dir.path()).expect("asked"), Holder::Nobody);
        let lock = DataLock::take(dir.path()).expect("taken");
        let own = i32::try_from(std::process::id()).expect("a pid");
        assert_eq!(DataLock::holder(dir.path()).expect("asked"), Holder::Process(own));
        let refused = DataLock::take(dir.path()).expect_err("a second one").to_string();
        assert!(refused.contains(&format!("pid {own}")), "{refused}");
        drop(lock);
        DataLock::take(dir.path()).expect("free again");
    }
}
