//! `subPath`, and mounts below a pod's folder. A container may have put a link anywhere into its volume: every step is
//! resolved by the kernel with `RESOLVE_BENEATH`, and what was found is mounted by its descriptor, not by its name.

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// Binds `subpath` of the volume at `root` to `target`, making missing folders unless `read_only`.
pub fn bind(root: &Path, subpath: &str, target: &Path, read_only: bool) -> io::Result<()> {
    let root = open_root(root)?;
    let found = match open_beneath(&root, Path::new(subpath)) {
        Err(Errno::NOENT) if !read_only => make_beneath(&root, Path::new(subpath))?,
        other => other?,
    };
    let folder = FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) == FileType::Directory;
    fresh_target(target, folder)?;
    let source = PathBuf::from(format!("/proc/self/fd/{}", found.as_raw_fd()));
    let flags = nix::mount::MsFlags::MS_BIND | nix::mount::MsFlags::MS_REC;
    nix::mount::mount(Some(&source), target, None::<&str>, flags, None::<&str>).map_err(Into::into)
}

fn open_root(root: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    Ok(rustix::fs::open(root, flags, Mode::empty())?)
}

fn open_beneath(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)
}

/// Step by step, each from the root, so that links inside the volume work and those out of it do not.
fn make_beneath(root: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let mut prefix = PathBuf::new();
    let mut parent: Option<OwnedFd> = None;
    for part in path.components() {
        let Component::Normal(name) = part else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a subPath must be relative and without '..'"));
        };
        prefix.push(name);
        let next = match open_beneath(root, &prefix) {
            Err(Errno::NOENT) => {
                let at = parent.as_ref().unwrap_or(root);
                match rustix::fs::mkdirat(at, name, Mode::from(0o750)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                open_beneath(root, &prefix)?
            }
            other => other?,
        };
        parent = Some(next);
    }
    parent.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a subPath must not be empty"))
}

/// An empty file or folder to mount on; an earlier mount there goes.
fn fresh_target(target: &Path, folder: bool) -> io::Result<()> {
    remove_below(target)?;
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    if folder { fs::create_dir(target) } else { fs::File::create_new(target).map(drop) }
}

/// Unmounts everything at and below `path`, then removes it. Nothing is removed while a mount is left: what it shows
/// may be the host's.
pub fn remove_below(path: &Path) -> io::Result<()> {
    for mount in mounts_below(path)?.iter().rev() {
        nix::mount::umount2(mount, nix::mount::MntFlags::MNT_DETACH)?;
    }
    if let Some(left) = mounts_below(path)?.first() {
        return Err(io::Error::other(format!("{} is still mounted", left.display())));
    }
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// In the order they were mounted.
fn mounts_below(path: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(parse_mountinfo(&fs::read_to_string("/proc/self/mountinfo")?).filter(|m| m.starts_with(path)).collect())
}

pub fn is_mounted(path: &Path) -> io::Result<bool> {
    Ok(mounts_below(path)?.iter().any(|m| m == path))
}

fn parse_mountinfo(text: &str) -> impl Iterator<Item = PathBuf> {
    text.lines().filter_map(|line| line.split(' ').nth(4)).map(|field| PathBuf::from(unescaped(field)))
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescaped(field: &str) -> String {
    let mut text = field.to_owned();
    for (code, character) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        text = text.replace(code, character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn opened(root: &Path, subpath: &str, read_only: bool) -> io::Result<()> {
        let root = open_root(root)?;
        match open_beneath(&root, Path::new(subpath)) {
            Err(Errno::NOENT) if !read_only => make_beneath(&root, Path::new(subpath)).map(drop),
            other => other.map(drop).map_err(Into::into),
        }
    }

    #[test]
    fn no_step_leaves_the_volume() {
        let folder = tempfile::tempdir().expect("a folder");
        let (volume, outside) = (folder.path().join("v"), folder.path().join("outside"));
        fs::create_dir_all(volume.join("real")).expect("makes");
        fs::create_dir_all(&outside).expect("makes");
        symlink("real", volume.join("inner")).expect("links");
        symlink("../outside", volume.join("up")).expect("links");
        symlink(&outside, volume.join("absolute")).expect("links");
        let table = [
            ("real", true),
            ("inner/new/deep", true),
            ("made/by/us", true),
            ("up", false),
            ("up/new", false),
            ("absolute/new", false),
            ("../outside", false),
            ("a/../../outside", false),
            ("/etc", false),
            ("", false),
        ];
        for (subpath, good) in table {
            assert_eq!(opened(&volume, subpath, false).is_ok(), good, "{subpath}");
        }
        assert!(volume.join("real/new/deep").is_dir());
        assert_eq!(fs::read_dir(&outside).expect("reads").count(), 0);
        assert!(opened(&volume, "not-made", true).is_err());
    }

    #[test]
    fn mount_points_are_read() {
        let text = "36 35 98:0 /mnt1 /mnt\\040two rw,noatime master:1 - ext3 /dev/root rw\n";
        assert_eq!(parse_mountinfo(text).collect::<Vec<_>>(), [PathBuf::from("/mnt two")]);
    }
}
