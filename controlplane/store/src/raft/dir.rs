//! The data directory: who holds it, which format it has, and how its entries are made durable.

use super::open::OpenError;
use rustix::fs::FlockOperation;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The layout below the directory. Another number means another program wrote it.
const FORMAT: &str = "coracle store 1\n";

/// A directory that no other process uses while this lives.
pub struct Dir {
    path: PathBuf,
    _lock: File,
}

impl Dir {
    pub fn open(path: &Path) -> Result<Dir, OpenError> {
        let doing = |what: &str| OpenError::io(format!("{what} {}", path.display()));
        create(path).map_err(doing("create"))?;
        let dir = Dir { path: path.to_owned(), _lock: hold(path)? };
        for part in [dir.log(), dir.snapshots()] {
            fs::create_dir_all(&part).map_err(OpenError::io(format!("create {}", part.display())))?;
        }
        dir.check_format()?;
        sync_dir(path).map_err(doing("sync"))?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_dir(parent).map_err(doing("sync the directory of"))?;
        }
        Ok(dir)
    }

    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub fn snapshots(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    pub fn mark(&self) -> PathBuf {
        self.path.join("mark")
    }

    /// Written whole or not at all, so a file that says something else is damaged or from another version.
    fn check_format(&self) -> Result<(), OpenError> {
        let path = self.path.join("format");
        match fs::read_to_string(&path) {
            Ok(found) if found == FORMAT => Ok(()),
            Ok(found) => Err(OpenError::damaged(format!("the data format is {found:?}, not {FORMAT:?}"), path)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(OpenError::damaged("the data format is no text", path))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut log = fs::read_dir(self.log()).map_err(OpenError::io("list the log".into()))?;
                if log.next().is_some() {
                    return Err(OpenError::damaged("there is a log but no data format", path));
                }
                replace(&path, FORMAT.as_bytes()).map_err(OpenError::io(format!("write {}", path.display())))
            }
            Err(error) => Err(OpenError::io(format!("read {}", path.display()))(error)),
        }
    }
}

/// Only for its owner: what is stored may be secret.
fn create(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        outcome => outcome,
    }
}

fn hold(path: &Path) -> Result<File, OpenError> {
    let at = path.join("lock");
    let doing = || OpenError::io(format!("lock {}", at.display()));
    let lock = File::options().create(true).truncate(false).write(true).open(&at).map_err(doing())?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::InUse { dir: path.to_owned() }),
        Err(error) => Err(doing()(error.into())),
    }
}

/// Makes the names in a directory durable.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Puts a whole file in place: written aside, synced, renamed, and the name synced.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("new");
    let mut file = File::create(&aside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}
