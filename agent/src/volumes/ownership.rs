//! `fsGroup`: the volume's files belong to the group, and what is made in it later will.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;

/// As upstream: group read and write everywhere, search and inherited group on folders. `only_if_root_differs` is
/// `fsGroupChangePolicy: OnRootMismatch`.
pub fn give_to_group(root: &Path, group: u32, only_if_root_differs: bool) -> io::Result<()> {
    let metadata = fs::symlink_metadata(root)?;
    if only_if_root_differs && metadata.gid() == group && metadata.mode() & 0o2070 == 0o2070 {
        return Ok(());
    }
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path)?;
        lchown(&path, None, Some(group))?;
        if metadata.is_symlink() {
            continue;
        }
        let more = if metadata.is_dir() { 0o2770 } else { 0o660 };
        fs::set_permissions(&path, fs::Permissions::from_mode(metadata.mode() & 0o7777 | more))?;
        if metadata.is_dir() {
            for entry in fs::read_dir(&path)? {
                open.push(entry?.path());
            }
        }
    }
    Ok(())
}
