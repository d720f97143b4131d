//! What is in the demo's one layer, and writing it to a folder.

use super::elf;
use crate::RuntimeError;
use crate::images::fault::io_error;
use rustix::fs::{AtFlags, CWD};
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// One file or folder of the layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Relative to the root. Folders come before what is in them.
    pub path: PathBuf,
    pub mode: u32,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Folder,
    Text(&'static str),
    /// The program itself.
    Program,
    CopyOf(PathBuf),
}

const PASSWD: &str = "root:x:0:0:root:/:/coracle\nnobody:x:65534:65534:nobody:/:/coracle\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";

/// Libraries go where the host's C library is: the loader looks there without a cache.
pub fn pieces(exe: &Path, loader: Option<&Path>) -> Result<Vec<Piece>, RuntimeError> {
    let mut pieces = vec![piece("coracle", 0o755, Content::Program)];
    for folder in ["dev", "etc", "proc", "run", "sys"] {
        pieces.push(piece(folder, 0o755, Content::Folder));
    }
    pieces.push(piece("tmp", 0o1777, Content::Folder));
    pieces.push(piece("etc/passwd", 0o644, Content::Text(PASSWD)));
    pieces.push(piece("etc/group", 0o644, Content::Text(GROUP)));
    let Some(loader) = loader else { return Ok(pieces) };
    let real = exe.canonicalize().unwrap_or_else(|_| exe.to_owned());
    // A program that was replaced while it runs has no path any more, only its link in /proc.
    let program = if real.exists() { &real } else { exe };
    let libraries = elf::libraries(loader, program)?;
    let home = libraries.iter().find(|library| library.name.starts_with("libc.")).and_then(|libc| libc.path.parent());
    let home = home.or(loader.parent()).unwrap_or(Path::new("/lib"));
    add_with_folders(&mut pieces, loader, loader);
    for library in &libraries {
        add_with_folders(&mut pieces, &home.join(&library.name), &library.path);
    }
    Ok(pieces)
}

fn piece(path: &str, mode: u32, content: Content) -> Piece {
    Piece { path: PathBuf::from(path), mode, content }
}

fn add_with_folders(pieces: &mut Vec<Piece>, at: &Path, source: &Path) {
    let at = at.strip_prefix("/").unwrap_or(at);
    let mut folders: Vec<&Path> = at.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()).collect();
    folders.reverse();
    for folder in folders {
        if !pieces.iter().any(|piece| piece.path == folder) {
            pieces.push(Piece { path: folder.to_owned(), mode: 0o755, content: Content::Folder });
        }
    }
    if !pieces.iter().any(|piece| piece.path == at) {
        pieces.push(Piece { path: at.to_owned(), mode: 0o755, content: Content::CopyOf(source.to_owned()) });
    }
}

/// Returns the bytes of all files. Nothing is synced.
pub fn write(root: &Path, program: &File, pieces: &[Piece]) -> Result<u64, RuntimeError> {
    let mut bytes = 0;
    for piece in pieces {
        let path = root.join(&piece.path);
        let doing = || format!("writing {}", path.display());
        let set_mode = |()| fs::set_permissions(&path, Permissions::from_mode(piece.mode));
        bytes += match &piece.content {
            Content::Folder => fs::create_dir(&path).and_then(set_mode).map(|()| 0),
            Content::Text(text) => fs::write(&path, text).and_then(set_mode).map(|()| text.len() as u64),
            Content::Program => place(program, &path, piece.mode),
            Content::CopyOf(source) => File::open(source).and_then(|source| place(&source, &path, piece.mode)),
        }
        .map_err(io_error(doing()))?;
    }
    Ok(bytes)
}

/// Returns its bytes.
fn place(from: &File, to: &Path, mode: u32) -> io::Result<u64> {
    let meta = from.metadata()?;
    if only_root_changes(&meta, mode) && link(from, to).is_ok() {
        return Ok(meta.len());
    }
    let bytes = copy(from, to)?;
    fs::set_permissions(to, Permissions::from_mode(mode))?;
    Ok(bytes)
}

/// Such a file may be linked instead of copied: no time, no disk, and containers share its pages in memory with the host.
/// Package managers and linkers replace files rather than write into them, and a running program cannot be written to.
fn only_root_changes(meta: &Metadata, mode: u32) -> bool {
    meta.is_file() && meta.uid() == 0 && meta.mode() & 0o7777 == mode
}

/// Fails on another file system, and for a program that was deleted while it runs.
fn link(from: &File, to: &Path) -> rustix::io::Result<()> {
    let from = format!("/proc/self/fd/{}", from.as_raw_fd());
    rustix::fs::linkat(CWD, from, CWD, to, AtFlags::SYMLINK_FOLLOW)
}

/// In the kernel, and shared on disk where the file system can.
fn copy(mut from: &File, to: &Path) -> io::Result<u64> {
    io::Seek::rewind(&mut from)?;
    let mut to = File::create_new(to)?;
    io::copy(&mut from, &mut to)
}
