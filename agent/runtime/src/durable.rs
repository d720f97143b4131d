//! Small JSON files that survive a crash: written aside, synced, renamed. Shared by the agent's side and the shim.

use crate::limits::STATE_FILE_BYTES;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Whether a file has to be there after a power cut, or only after a crash of its writer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Survives {
    PowerCut,
    Crash,
}

/// Puts `value` into `path` as a whole or not at all.
pub fn write<T: Serialize>(path: &Path, value: &T, survives: Survives) -> io::Result<()> {
    let aside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    if survives == Survives::PowerCut {
        file.sync_data()?;
    }
    fs::rename(&aside, path)?;
    if survives == Survives::PowerCut { sync_parent(path) } else { Ok(()) }
}

/// Makes the entries of `path`'s folder durable.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// `None` where there is no such file. Damaged content is an error, never a missing file.
pub fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(STATE_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(Some(serde_json::from_slice(&bytes)?))
}

/// Deletes a tree; no error if it is not there.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    absent_is_fine(fs::remove_dir_all(path))
}

/// Deletes a file; no error if it is not there.
pub fn remove_file(path: &Path) -> io::Result<()> {
    absent_is_fine(fs::remove_file(path))
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
