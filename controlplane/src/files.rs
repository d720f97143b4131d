//! Writing a file so that a crash leaves the old one or the new one, never a part.

use std::fs::{self, File, OpenOptions};
use std::io::{Result, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Replaces `path` with `bytes`, readable by `mode`: written aside, synced, renamed, the directory synced. The file
/// aside is new and its name is not to be guessed, so whoever owns the directory cannot lead us elsewhere by a link.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{:016x}.new", rand::random::<u64>()));
    let aside = Path::new(&aside);
    let written = write_new(aside, bytes, mode).and_then(|()| fs::rename(aside, path));
    if written.is_err() {
        // What failed to be written may not be there at all.
        let _ = fs::remove_file(aside);
    }
    written?;
    File::open(parent)?.sync_all()
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}
