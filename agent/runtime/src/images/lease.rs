//! Who uses which image: one small file per holder. A leased image's layers outlive its names.

use super::digest::Digest;
use super::fault::io_error;
use super::{files, limits};
use crate::RuntimeError;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A holder's file in `folder`. Holders are container ids: safe in a path, or refused.
pub fn path(folder: &Path, holder: &str) -> Result<PathBuf, RuntimeError> {
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    match !holder.is_empty() && holder.len() <= limits::NAME_BYTES && holder.bytes().all(safe) {
        true => Ok(folder.join(holder)),
        false => Err(RuntimeError::NotFound { what: "lease holder", id: holder.to_owned() }),
    }
}

pub fn read(path: &Path) -> Result<Option<Digest>, RuntimeError> {
    let Some(bytes) = files::read(path, limits::DOCUMENT_BYTES)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    Digest::parse(text.trim()).map(Some).map_err(|fault| fault.of(path.display()))
}

pub fn all(folder: &Path) -> Result<BTreeSet<Digest>, RuntimeError> {
    let doing = || format!("listing {}", folder.display());
    let mut held = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(io_error(doing()))? {
        let entry = entry.map_err(io_error(doing()))?;
        // What a crash left of a file that was being replaced.
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        held.extend(read(&entry.path())?);
    }
    Ok(held)
}
