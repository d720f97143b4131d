//! Files that are replaced whole and survive a power cut, and locks between processes.

use super::fault::{errno, io_error};
use crate::RuntimeError;
use rustix::fs::FlockOperation;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// A lock other processes respect, released when dropped.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] File);

impl Lock {
    pub fn exclusive(path: &Path) -> Result<Lock, RuntimeError> {
        Self::take(path, FlockOperation::LockExclusive)
    }

    pub fn shared(path: &Path) -> Result<Lock, RuntimeError> {
        Self::take(path, FlockOperation::LockShared)
    }

    /// `None` if someone else holds it in any way.
    pub fn try_exclusive(path: &Path) -> Result<Option<Lock>, RuntimeError> {
        let file = lock_file(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(errno(format!("locking {}", path.display()))(e)),
        }
    }

    fn take(path: &Path, how: FlockOperation) -> Result<Lock, RuntimeError> {
        let file = lock_file(path)?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&file, how))
            .map_err(errno(format!("locking {}", path.display())))?;
        Ok(Lock(file))
    }
}

fn lock_file(path: &Path) -> Result<File, RuntimeError> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(io_error(format!("opening {}", path.display())))
}

/// All of it or, after a crash at any moment, what was there before.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), RuntimeError> {
    let folder = path.parent().expect("a file of the store is in a folder");
    let doing = || format!("writing {}", path.display());
    let mut aside = tempfile::Builder::new().prefix(".new-").tempfile_in(folder).map_err(io_error(doing()))?;
    aside.write_all(content).map_err(io_error(doing()))?;
    aside.as_file().sync_data().map_err(io_error(doing()))?;
    aside.persist(path).map_err(|e| io_error(doing())(e.error))?;
    sync_folder(folder)
}

/// Makes names in a folder durable.
pub fn sync_folder(folder: &Path) -> Result<(), RuntimeError> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(io_error(format!("syncing {}", folder.display())))
}

/// Whole content, `None` where there is no such file.
pub fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, RuntimeError> {
    let doing = || format!("reading {}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error(doing())(e)),
    };
    super::digest::read_bounded(file, limit, &doing()).map(Some).map_err(|fault| fault.of(path.display()))
}

pub fn ensure_folder(path: &Path) -> Result<(), RuntimeError> {
    fs::create_dir_all(path).map_err(io_error(format!("making {}", path.display())))
}

/// No error if it is not there.
pub fn remove_tree(path: &Path) -> Result<(), RuntimeError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io_error(format!("removing {}", path.display()))(e)),
        _ => Ok(()),
    }
}
