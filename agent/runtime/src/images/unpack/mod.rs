//! Unpacks one layer's archive into a folder that overlayfs can use as a lower directory.
//! Rule for whiteouts: <https://github.com/opencontainers/image-spec/blob/v1.1.0/layer.md#whiteouts>.

mod place;
mod tree;

use super::fault::Fault;
use super::limits;
use super::tar::{Extent, Kind, Member, Members, Sequential, Skip, Time};
use place::Place;
use rustix::fd::OwnedFd;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tree::Tree;

const COPY_BYTES: usize = 128 << 10;

/// Unpacks into the empty folder `into`. `lowers` are the layers below, topmost first: they say what folders look like
/// that the archive only implies, and may hold the targets of its hard links. Returns the bytes of all files.
pub fn unpack(stream: impl Read, into: &Path, lowers: &[PathBuf]) -> Result<u64, Fault> {
    let mut layer = Layer {
        tree: Tree::open(into, lowers)?,
        folders: Vec::new(),
        bytes: 0,
        entries: 0,
        buffer: vec![0; COPY_BYTES],
    };
    let mut members = Members::new(Sequential(stream));
    while let Some(member) = members.next()? {
        let shown = String::from_utf8_lossy(&member.path).into_owned();
        layer.add(&member, &mut members).map_err(|fault| match fault {
            Fault::Bad(why) => Fault::Bad(format!("{shown:?}: {why}")),
            Fault::Host { doing, why } => Fault::Host { doing: format!("unpacking {shown:?}: {doing}"), why },
        })?;
    }
    layer.finish_folders()?;
    Ok(layer.bytes)
}

struct Layer {
    tree: Tree,
    /// Their times are set last, because what is put into them changes them.
    folders: Vec<(Place, Time)>,
    bytes: u64,
    entries: u64,
    /// For copying, made once.
    buffer: Vec<u8>,
}

impl Layer {
    fn add<R: Skip>(&mut self, member: &Member, body: &mut Members<R>) -> Result<(), Fault> {
        self.entries += 1;
        if self.entries > limits::LAYER_ENTRIES {
            return Err(Fault::bad(format!("more than {} members", limits::LAYER_ENTRIES)));
        }
        let place = Place::parse(&member.path)?;
        let Some(name) = place.name() else {
            return self.add_root(member);
        };
        if let Some(parent) = place.parents().iter().find(|parent| parent.starts_with(b".wh.")) {
            return match parent.starts_with(b".wh..wh.") {
                true => Ok(()),
                false => Err(Fault::bad("a path below a whiteout")),
            };
        }
        if name == b".wh..wh..opq" {
            return self.tree.make_opaque(&place);
        }
        match name.strip_prefix(b".wh.") {
            // Bookkeeping of an old storage driver, never part of an image's content.
            Some(rest) if rest.starts_with(b".wh.") => Ok(()),
            Some(b"" | b"." | b"..") => Err(Fault::bad("a whiteout of nothing")),
            Some(hidden) => self.tree.white_out(&place.sibling(hidden)),
            None => self.add_plain(place, member, body),
        }
    }

    fn add_root(&mut self, member: &Member) -> Result<(), Fault> {
        match member.kind {
            Kind::Folder => {
                let folder = self.tree.root()?;
                tree::describe(&folder, member)?;
                self.folders.push((Place::default(), member.mtime));
                Ok(())
            }
            _ => Err(Fault::bad("only a folder can be the root")),
        }
    }

    fn add_plain<R: Skip>(&mut self, place: Place, member: &Member, body: &mut Members<R>) -> Result<(), Fault> {
        match &member.kind {
            Kind::Folder => {
                let folder = self.tree.make_folder(&place)?;
                tree::describe(&folder, member)?;
                self.folders.push((place, member.mtime));
                Ok(())
            }
            Kind::File => {
                count(&mut self.bytes, member.stored)?;
                let file = self.tree.make_file(&place)?;
                copy_plain(body, &file, &mut self.buffer)?;
                tree::describe(&file, member)?;
                tree::set_time(&file, member.mtime)
            }
            Kind::Sparse { bytes, extents } => {
                count(&mut self.bytes, *bytes)?;
                let file = self.tree.make_file(&place)?;
                copy_sparse(body, &file, *bytes, extents, &mut self.buffer)?;
                tree::describe(&file, member)?;
                tree::set_time(&file, member.mtime)
            }
            Kind::Symlink { target } => self.tree.make_symlink(&place, target, member),
            Kind::HardLink { target } => {
                let bytes = &mut self.bytes;
                self.tree.make_hard_link(&place, &Place::parse(target)?, |copied| count(bytes, copied))
            }
            Kind::Fifo => self.tree.make_fifo(&place, member),
            // A container's /dev is made by the runtime and hides the image's. Anywhere else a device would be a way
            // around that.
            Kind::Device { .. } if place.is_below(b"dev") => Ok(()),
            Kind::Device { .. } => Err(Fault::bad("a device outside /dev")),
        }
    }

    fn finish_folders(&self) -> Result<(), Fault> {
        for (place, time) in &self.folders {
            // A later member may have put something else in its place.
            if let Some(folder) = self.tree.folder(place)? {
                tree::set_time(&folder, *time)?;
            }
        }
        Ok(())
    }
}

/// Adds `more` to the bytes of a layer's files.
fn count(bytes: &mut u64, more: u64) -> Result<(), Fault> {
    *bytes = bytes.saturating_add(more);
    match *bytes > limits::LAYER_BYTES {
        true => Err(Fault::bad(format!("more than {} bytes of files", limits::LAYER_BYTES))),
        false => Ok(()),
    }
}

fn copy_plain(body: &mut impl Read, file: &OwnedFd, buffer: &mut [u8]) -> Result<(), Fault> {
    let mut file = File::from(file.try_clone().map_err(Fault::host("duplicating a descriptor"))?);
    loop {
        match body.read(buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => io::Write::write_all(&mut file, &buffer[..n]).map_err(Fault::host("writing"))?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Fault::read("reading the archive", e)),
        }
    }
}

fn copy_sparse(
    body: &mut impl Read,
    file: &OwnedFd,
    bytes: u64,
    extents: &[Extent],
    buffer: &mut [u8],
) -> Result<(), Fault> {
    let file = File::from(file.try_clone().map_err(Fault::host("duplicating a descriptor"))?);
    file.set_len(bytes).map_err(Fault::host("making a file with holes"))?;
    for extent in extents {
        let mut done = 0;
        while done < extent.bytes {
            let most = usize::try_from(extent.bytes - done).unwrap_or(usize::MAX).min(buffer.len());
            body.read_exact(&mut buffer[..most]).map_err(|e| Fault::read("reading the archive", e))?;
            file.write_all_at(&buffer[..most], extent.offset + done).map_err(Fault::host("writing"))?;
            done += most as u64;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hard_link_that_becomes_a_copy_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (lower, into) = (dir.path().join("lower"), dir.path().join("into"));
        std::fs::create_dir(&lower).unwrap();
        std::fs::create_dir(&into).unwrap();
        std::fs::write(lower.join("file"), b"12345").unwrap();
        let member = Member {
            path: b"copy".to_vec(),
            kind: Kind::HardLink { target: b"file".to_vec() },
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            xattrs: Vec::new(),
            offset: 0,
            stored: 0,
        };
        let add = |bytes| {
            let tree = Tree::open(&into, std::slice::from_ref(&lower)).unwrap();
            let mut layer = Layer { tree, folders: Vec::new(), bytes, entries: 0, buffer: Vec::new() };
            layer.add(&member, &mut Members::new(Sequential(io::empty()))).map(|()| layer.bytes)
        };
        assert!(matches!(add(limits::LAYER_BYTES - 4), Err(Fault::Bad(_))));
        assert!(!into.join("copy").exists(), "it is counted before it is copied");
        assert_eq!(add(0).unwrap(), 5);
        assert_eq!(std::fs::read(into.join("copy")).unwrap(), b"12345");
    }
}
