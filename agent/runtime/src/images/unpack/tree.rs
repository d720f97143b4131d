//! Makes files below one folder and never outside it. Every path is resolved by the kernel with `RESOLVE_BENEATH`, every
//! change is made by name in a folder that is held open, and no last component is ever followed.

use super::place::{Place, join};
use crate::images::fault::Fault;
use crate::images::tar::{Member, Time};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

pub struct Tree {
    root: OwnedFd,
    /// The layers below, topmost first.
    lowers: Vec<OwnedFd>,
}

const OPAQUE: &str = "trusted.overlay.opaque";

impl Tree {
    pub fn open(root: &Path, lowers: &[PathBuf]) -> Result<Self, Fault> {
        let open = |path: &Path| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            fs::open(path, flags, Mode::empty()).map_err(|e| host(&format!("opening {}", path.display()), e))
        };
        Ok(Tree { root: open(root)?, lowers: lowers.iter().map(|lower| open(lower)).collect::<Result<_, _>>()? })
    }

    /// The root itself, for its attributes.
    pub fn root(&self) -> Result<OwnedFd, Fault> {
        open_folder(&self.root, b".").map_err(|e| host("opening the root", e))
    }

    /// The folder at a place, `None` where there is something else or nothing.
    pub fn folder(&self, place: &Place) -> Result<Option<OwnedFd>, Fault> {
        let Some(name) = place.name() else { return self.root().map(Some) };
        match beneath(&self.root, &join(place.parents())) {
            Ok(parent) => match open_folder(&parent, name) {
                Ok(folder) => Ok(Some(folder)),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
                Err(e) => Err(host("opening a folder", e)),
            },
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(None),
            Err(e) => Err(host("opening a folder", e)),
        }
    }

    pub fn make_folder(&self, place: &Place) -> Result<OwnedFd, Fault> {
        let parent = self.parent(place)?;
        let name = last(place);
        match look(&parent, name)? {
            Some(stat) if is(&stat, FileType::Directory) => {}
            Some(stat) => {
                remove(&parent, name, &stat)?;
                make_folder_at(&parent, name, is_whiteout(&stat))?;
            }
            None => make_folder_at(&parent, name, false)?,
        }
        open_folder(&parent, name).map_err(|e| host("opening a new folder", e))
    }

    pub fn make_file(&self, place: &Place) -> Result<OwnedFd, Fault> {
        let parent = self.cleared(place)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
        fs::openat(&parent, last(place), flags, Mode::from_raw_mode(0o600)).map_err(|e| host("making a file", e))
    }

    pub fn make_symlink(&self, place: &Place, target: &[u8], member: &Member) -> Result<(), Fault> {
        let parent = self.cleared(place)?;
        fs::symlinkat(target, &parent, last(place)).map_err(|e| host("making a link", e))?;
        self.describe_unopened(&parent, last(place), member)
    }

    pub fn make_fifo(&self, place: &Place, member: &Member) -> Result<(), Fault> {
        let parent = self.cleared(place)?;
        let name = last(place);
        fs::mknodat(&parent, name, FileType::Fifo, mode(0o600), 0).map_err(|e| host("making a pipe", e))?;
        self.describe_unopened(&parent, name, member)?;
        // Not followed: it was made a pipe just now, in a folder only we write to.
        fs::chmodat(&parent, name, mode(member.mode), AtFlags::empty()).map_err(|e| host("setting a mode", e))
    }

    /// `count` hears the bytes of a target in a layer below before they are copied, and may refuse them.
    pub fn make_hard_link(
        &self,
        place: &Place,
        target: &Place,
        count: impl FnOnce(u64) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let Some(target_name) = target.name() else { return Err(Fault::bad("a hard link to the root")) };
        if place == target {
            return Err(Fault::bad("a hard link to itself"));
        }
        let shown = String::from_utf8_lossy(&join(target.parents())).into_owned();
        let target_parent = match beneath(&self.root, &join(target.parents())) {
            Ok(folder) => Some(folder),
            Err(Errno::NOENT | Errno::NOTDIR) => None,
            Err(Errno::LOOP | Errno::XDEV) => {
                return Err(Fault::bad(format!("a hard link through a link that leaves: {shown:?}")));
            }
            Err(e) => return Err(host("opening a folder", e)),
        };
        let found = match &target_parent {
            Some(folder) => look(folder, target_name)?.filter(|stat| !is_whiteout(stat)),
            None => None,
        };
        match found {
            Some(stat) if is(&stat, FileType::Directory) => Err(Fault::bad("a hard link to a folder")),
            Some(_) => {
                let folder = target_parent.expect("found in it");
                let parent = self.cleared(place)?;
                fs::linkat(&folder, target_name, &parent, last(place), AtFlags::empty()).map_err(|e| match e {
                    Errno::NOENT => Fault::bad("a hard link to what it replaces"),
                    e => host("making a hard link", e),
                })
            }
            None => self.copy_from_below(place, target, count),
        }
    }

    /// The target is in a layer below, where nothing may be changed: the link becomes a copy.
    fn copy_from_below(
        &self,
        place: &Place,
        target: &Place,
        count: impl FnOnce(u64) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let source = self.below(target)?.ok_or_else(|| Fault::bad("a hard link to a file that is not there"))?;
        let stat = fs::fstat(&source).map_err(|e| host("looking at a file below", e))?;
        if !is(&stat, FileType::RegularFile) {
            return Err(Fault::bad("a hard link to something below that is no file"));
        }
        count(u64::try_from(stat.st_size).unwrap_or(u64::MAX))?;
        let source = fs::open(proc_path(&source), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| host("opening a file below", e))?;
        let file = self.make_file(place)?;
        let mut from = std::fs::File::from(source);
        let mut to = std::fs::File::from(file);
        std::io::copy(&mut from, &mut to).map_err(Fault::host("copying a file from below"))?;
        take_looks(&to, &stat)?;
        let time = Time { seconds: stat.st_mtime, nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0) };
        set_time(&to, time)
    }

    /// Hides a name of the layers below.
    pub fn white_out(&self, place: &Place) -> Result<(), Fault> {
        let parent = self.parent(place)?;
        let name = last(place);
        match look(&parent, name)? {
            // This layer's own: only what is below it is hidden.
            Some(stat) if is(&stat, FileType::Directory) => {
                set_opaque(&open_folder(&parent, name).map_err(|e| host("opening a folder", e))?)
            }
            Some(_) => Ok(()),
            None => fs::mknodat(&parent, name, FileType::CharacterDevice, Mode::empty(), 0)
                .map_err(|e| host("making a whiteout", e)),
        }
    }

    /// Hides all that the layers below have in the folder of this place.
    pub fn make_opaque(&self, place: &Place) -> Result<(), Fault> {
        let parent = self.parent(place)?;
        set_opaque(&open_folder(&parent, b".").map_err(|e| host("opening a folder", e))?)
    }

    /// The folder a place is in, with nothing left at the place itself.
    fn cleared(&self, place: &Place) -> Result<OwnedFd, Fault> {
        let parent = self.parent(place)?;
        if let Some(stat) = look(&parent, last(place))? {
            remove(&parent, last(place), &stat)?;
        }
        Ok(parent)
    }

    /// The folder a place is in, made with those above it where the archive only implies them.
    fn parent(&self, place: &Place) -> Result<OwnedFd, Fault> {
        let parents = place.parents();
        match beneath(&self.root, &join(parents)) {
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            done => return done.map_err(leaves),
        }
        for depth in 1..=parents.len() {
            let above = beneath(&self.root, &join(&parents[..depth - 1])).map_err(leaves)?;
            let name = &parents[depth - 1][..];
            let hidden = match look(&above, name)? {
                Some(stat) if is_whiteout(&stat) => {
                    remove(&above, name, &stat)?;
                    true
                }
                Some(_) => continue,
                None => false,
            };
            make_folder_at(&above, name, hidden)?;
            let folder = open_folder(&above, name).map_err(|e| host("opening a new folder", e))?;
            if let Some(lower) = self.below(&Place::parse(&join(&parents[..depth]))?)?.filter(|_| !hidden) {
                let stat = fs::fstat(&lower).map_err(|e| host("looking at a folder below", e))?;
                if is(&stat, FileType::Directory) {
                    take_looks(&folder, &stat)?;
                }
            }
        }
        beneath(&self.root, &join(parents)).map_err(leaves)
    }

    /// The topmost thing at this place in the layers below, opened as a path only.
    fn below(&self, place: &Place) -> Result<Option<OwnedFd>, Fault> {
        let name = last(place);
        for lower in &self.lowers {
            let parent = match beneath(lower, &join(place.parents())) {
                Ok(parent) => parent,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => continue,
                Err(e) => return Err(host("looking at a layer below", e)),
            };
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match fs::openat(&parent, name, flags, Mode::empty()) {
                Ok(found) => {
                    let stat = fs::fstat(&found).map_err(|e| host("looking at a layer below", e))?;
                    return Ok((!is_whiteout(&stat)).then_some(found));
                }
                Err(Errno::NOENT) => {}
                Err(e) => return Err(host("looking at a layer below", e)),
            }
        }
        Ok(None)
    }

    fn describe_unopened(&self, parent: &OwnedFd, name: &[u8], member: &Member) -> Result<(), Fault> {
        let (uid, gid) = owner(member.uid, member.gid)?;
        fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| host("setting an owner", e))?;
        fs::utimensat(parent, name, &times(member.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| host("setting a time", e))
    }
}

/// Owner, mode and extended attributes of a member. In this order: a change of owner takes set-id bits and
/// capabilities away.
pub fn describe(file: &impl AsFd, member: &Member) -> Result<(), Fault> {
    let (uid, gid) = owner(member.uid, member.gid)?;
    fs::fchown(file, uid, gid).map_err(|e| host("setting an owner", e))?;
    fs::fchmod(file, mode(member.mode)).map_err(|e| host("setting a mode", e))?;
    for (name, value) in &member.xattrs {
        if name.starts_with("trusted.") {
            return Err(Fault::bad(format!("an extended attribute {name:?}, which only the host may set")));
        }
        // Labels of the host that built it (SELinux, IMA) mean nothing here.
        if name != "security.capability" && !name.starts_with("user.") && !name.starts_with("system.posix_acl_") {
            continue;
        }
        match fs::fsetxattr(file, name.as_str(), value, XattrFlags::empty()) {
            // A file system without them has no use for them.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(Errno::INVAL | Errno::RANGE | Errno::TOOBIG) => {
                return Err(Fault::bad(format!("the extended attribute {name:?} is damaged")));
            }
            Err(e) => return Err(host("setting an extended attribute", e)),
        }
    }
    Ok(())
}

pub fn set_time(file: &impl AsFd, time: Time) -> Result<(), Fault> {
    fs::futimens(file, &times(time)).map_err(|e| host("setting a time", e))
}

fn take_looks(file: &impl AsFd, stat: &Stat) -> Result<(), Fault> {
    let (uid, gid) = owner(stat.st_uid, stat.st_gid)?;
    fs::fchown(file, uid, gid).map_err(|e| host("setting an owner", e))?;
    fs::fchmod(file, mode(stat.st_mode & 0o7777)).map_err(|e| host("setting a mode", e))
}

fn times(time: Time) -> Timestamps {
    let at = Timespec { tv_sec: time.seconds, tv_nsec: time.nanos.into() };
    Timestamps { last_access: at, last_modification: at }
}

/// `-1` would mean "leave as it is".
fn owner(uid: u32, gid: u32) -> Result<(Option<Uid>, Option<Gid>), Fault> {
    match uid == u32::MAX || gid == u32::MAX {
        true => Err(Fault::bad("an owner out of range")),
        false => Ok((Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))),
    }
}

fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode(bits)
}

fn last(place: &Place) -> &[u8] {
    place.name().expect("the root is handled before")
}

fn is(stat: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == kind
}

fn is_whiteout(stat: &Stat) -> bool {
    is(stat, FileType::CharacterDevice) && stat.st_rdev == 0
}

/// A folder reached without leaving `root`, links within it followed.
fn beneath(root: &OwnedFd, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // The kernel asks to try again when something was renamed meanwhile.
    for _ in 0..16 {
        match fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            done => return done,
        }
    }
    Err(Errno::AGAIN)
}

fn open_folder(parent: &OwnedFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(parent, name, flags, Mode::empty())
}

fn make_folder_at(parent: &OwnedFd, name: &[u8], opaque: bool) -> Result<(), Fault> {
    fs::mkdirat(parent, name, mode(0o755)).map_err(|e| host("making a folder", e))?;
    let folder = open_folder(parent, name).map_err(|e| host("opening a new folder", e))?;
    fs::fchmod(&folder, mode(0o755)).map_err(|e| host("setting a mode", e))?;
    match opaque {
        true => set_opaque(&folder),
        false => Ok(()),
    }
}

fn set_opaque(folder: &OwnedFd) -> Result<(), Fault> {
    fs::fsetxattr(folder, OPAQUE, b"y", XattrFlags::empty()).map_err(|e| host("making a folder opaque", e))
}

fn look(parent: &OwnedFd, name: &[u8]) -> Result<Option<Stat>, Fault> {
    match fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(host("looking at what is there", e)),
    }
}

fn remove(parent: &OwnedFd, name: &[u8], stat: &Stat) -> Result<(), Fault> {
    if !is(stat, FileType::Directory) {
        return fs::unlinkat(parent, name, AtFlags::empty()).map_err(|e| host("replacing a file", e));
    }
    // By a path through the folder that is held open; the removal itself follows no links.
    let path = proc_path(parent).join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name));
    std::fs::remove_dir_all(path).map_err(Fault::host("replacing a folder"))
}

fn proc_path(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(fd)))
}

fn leaves(e: Errno) -> Fault {
    match e {
        Errno::XDEV | Errno::LOOP => Fault::bad("a path through a link that leaves the layer"),
        Errno::NOTDIR => Fault::bad("a path through something that is no folder"),
        Errno::NOENT => Fault::bad("a path through a link to nothing"),
        e => host("opening a folder", e),
    }
}

fn host(doing: &str, e: Errno) -> Fault {
    Fault::Host { doing: doing.to_owned(), why: e.into() }
}
