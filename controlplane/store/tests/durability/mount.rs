//! The forgetful disk as a file system that processes can use.

use crate::disk::{Dir, Disk, Fault, File, Node};
use fuser::{
    BackgroundSession, BsdFileFlags, Config, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The kernel keeps nothing in mind: what is not asked of the disk is not on the disk.
const NO_CACHE: Duration = Duration::ZERO;

#[derive(Clone)]
pub struct Shared(pub Arc<Mutex<Disk>>);

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attributes(&self, id: u64) -> Result<FileAttr, Fault> {
        let mut disk = self.lock();
        let (kind, perm, size) = match disk.node(id)? {
            Node::File(file) => (FileType::RegularFile, 0o600, file.content.len() as u64),
            Node::Dir(_) => (FileType::Directory, 0o700, 0),
        };
        let time = SystemTime::UNIX_EPOCH;
        Ok(FileAttr {
            ino: INodeNo(id),
            size,
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn make(&self, parent: INodeNo, name: &OsStr, node: Node) -> Result<FileAttr, Fault> {
        let id = self.lock().create(parent.0, name, node)?;
        self.attributes(id)
    }

    fn resize(&self, ino: INodeNo, size: Option<u64>) -> Result<FileAttr, Fault> {
        if let Some(size) = size {
            self.lock().file(ino.0)?.resize(size as usize);
        }
        self.attributes(ino.0)
    }

    fn list(&self, ino: INodeNo) -> Result<Vec<(u64, FileType, std::ffi::OsString)>, Fault> {
        let mut disk = self.lock();
        let names: Vec<_> = disk.dir(ino.0)?.names.iter().map(|(name, id)| (name.clone(), *id)).collect();
        let listed = names.into_iter().map(|(name, id)| {
            let kind = match disk.node(id)? {
                Node::File(_) => FileType::RegularFile,
                Node::Dir(_) => FileType::Directory,
            };
            Ok((id, kind, name))
        });
        listed.collect()
    }
}

fn errno(fault: Fault) -> fuser::Errno {
    match fault {
        Fault::NoPower => fuser::Errno::EIO,
        Fault::NotFound => fuser::Errno::ENOENT,
        Fault::Exists => fuser::Errno::EEXIST,
        Fault::NotEmpty => fuser::Errno::ENOTEMPTY,
        Fault::Unsupported => fuser::Errno::EOPNOTSUPP,
    }
}

/// How long a disk may be busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// A mounted disk; unmounted when dropped.
pub struct Mounted {
    session: Option<BackgroundSession>,
    path: PathBuf,
}

impl Mounted {
    pub fn at(path: &Path, disk: &Shared) -> io::Result<Mounted> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("forgetful".into())];
        let session = fuser::spawn_mount(disk.clone(), path, &config)?;
        Ok(Mounted { session: Some(session), path: path.to_owned() })
    }
}

impl Drop for Mounted {
    /// Another test that is just starting a process may hold copies of our files for a moment.
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match unmount(&self.path, UnmountFlags::empty()) {
                Err(Errno::BUSY) if Instant::now() < deadline => std::thread::yield_now(),
                Err(Errno::BUSY) => panic!("the forgetful disk stays mounted at {}", self.path.display()),
                Ok(()) | Err(_) => break,
            }
        }
        if let Some(Err(error)) = self.session.take().map(BackgroundSession::join) {
            println!("the forgetful disk did not end well: {error}");
        }
    }
}

fn empty(reply: ReplyEmpty, outcome: Result<(), Fault>) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(fault) => reply.error(errno(fault)),
    }
}

fn entry(reply: ReplyEntry, outcome: Result<FileAttr, Fault>) {
    match outcome {
        Ok(attributes) => reply.entry(&NO_CACHE, &attributes, Generation(0)),
        Err(fault) => reply.error(errno(fault)),
    }
}

fn attributes(reply: ReplyAttr, outcome: Result<FileAttr, Fault>) {
    match outcome {
        Ok(attributes) => reply.attr(&NO_CACHE, &attributes),
        Err(fault) => reply.error(errno(fault)),
    }
}

impl Filesystem for Shared {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.lock().lookup(parent.0, name);
        entry(reply, found.and_then(|id| self.attributes(id)));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        attributes(reply, self.attributes(ino.0));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        attributes(reply, self.resize(ino, size));
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        entry(reply, self.make(parent, name, Node::Dir(Dir::default())));
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        match self.make(parent, name, Node::File(File::default())) {
            Ok(made) => reply.created(&NO_CACHE, &made, Generation(0), FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Err(fault) => reply.error(errno(fault)),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.lock().unlink(parent.0, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.lock().unlink(parent.0, name));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let outcome = match parent == newparent && flags.is_empty() {
            true => self.lock().rename(parent.0, name, newname),
            false => Err(Fault::Unsupported),
        };
        empty(reply, outcome);
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.attributes(ino.0) {
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Err(fault) => reply.error(errno(fault)),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.lock().file(ino.0) {
            Ok(file) => {
                let start = file.content.len().min(offset as usize);
                let end = file.content.len().min(start + size as usize);
                reply.data(&file.content[start..end]);
            }
            Err(fault) => reply.error(errno(fault)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.lock().file(ino.0).map(|file| file.write(offset as usize, data)) {
            Ok(()) => reply.written(data.len() as u32),
            Err(fault) => reply.error(errno(fault)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(reply, self.lock().sync(ino.0));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(reply, self.lock().sync(ino.0));
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        match self.list(ino) {
            Ok(names) => {
                for (number, (id, kind, name)) in (1..).zip(names).skip(offset as usize) {
                    if reply.add(INodeNo(id), number, kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(fault) => reply.error(errno(fault)),
        }
    }
}
