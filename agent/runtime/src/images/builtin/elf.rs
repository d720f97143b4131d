//! What a program needs to run elsewhere: its loader, and the libraries that the loader finds for it.

use crate::RuntimeError;
use crate::images::fault::Fault;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;
const PROGRAM_HEADERS: u16 = 128;
const PT_INTERP: u32 = 3;

/// The loader a program names, `None` for a static one. Rule: System V ABI, chapters 4 and 5.
pub fn interpreter(program: &File) -> Result<Option<PathBuf>, Fault> {
    let mut header = [0; HEADER_BYTES];
    read_at(program, &mut header, 0)?;
    let wide = header.starts_with(b"\x7fELF\x02");
    let native = header[5] == if cfg!(target_endian = "little") { 1 } else { 2 };
    if !wide || !native {
        return Err(Fault::bad("not a 64-bit program for this host"));
    }
    let (table, entry, count) = (u64_at(&header, 32), u16_at(&header, 54), u16_at(&header, 56));
    if usize::from(entry) < PROGRAM_HEADER_BYTES || count > PROGRAM_HEADERS {
        return Err(Fault::bad("its program headers are damaged"));
    }
    for n in 0..u64::from(count) {
        let mut segment = [0; PROGRAM_HEADER_BYTES];
        let at =
            table.checked_add(n * u64::from(entry)).ok_or_else(|| Fault::bad("its program headers are damaged"))?;
        read_at(program, &mut segment, at)?;
        if u32::from_ne_bytes(array(&segment, 0)) == PT_INTERP {
            return path_at(program, u64_at(&segment, 8), u64_at(&segment, 32)).map(Some);
        }
    }
    Ok(None)
}

fn path_at(program: &File, offset: u64, bytes: u64) -> Result<PathBuf, Fault> {
    let bytes =
        usize::try_from(bytes).ok().filter(|n| *n <= 4096).ok_or_else(|| Fault::bad("its loader's name is damaged"))?;
    let mut name = vec![0; bytes];
    read_at(program, &mut name, offset)?;
    let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
    match PathBuf::from(OsStr::from_bytes(&name[..end])) {
        path if path.is_absolute() => Ok(path),
        path => Err(Fault::bad(format!("its loader {path:?} is no absolute path"))),
    }
}

fn read_at(file: &File, into: &mut [u8], at: u64) -> Result<(), Fault> {
    file.read_exact_at(into, at).map_err(|e| Fault::read("reading its headers", e))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the range has this length")
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(array(bytes, at))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(array(bytes, at))
}

/// A shared library: the name programs ask for and where it is on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    pub name: String,
    pub path: PathBuf,
}

/// All libraries a program needs, as its loader resolves them here.
pub fn libraries(loader: &Path, program: &Path) -> Result<Vec<Library>, RuntimeError> {
    let failed = |why: String| RuntimeError::Host {
        what: format!("{} cannot list the libraries of {}: {why}", loader.display(), program.display()),
        fix: "the built-in demo image needs them".to_owned(),
    };
    let listing = Command::new(loader)
        .arg("--list")
        .arg(program)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| failed(e.to_string()))?;
    match listing.status.success() {
        true => parse_listing(&String::from_utf8_lossy(&listing.stdout)).map_err(failed),
        false => Err(failed(String::from_utf8_lossy(&listing.stderr).trim().to_owned())),
    }
}

/// Lines such as `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`. The kernel's own and the loader have no arrow.
fn parse_listing(listing: &str) -> Result<Vec<Library>, String> {
    let mut libraries = Vec::new();
    for (name, rest) in listing.lines().filter_map(|line| line.trim().split_once(" => ")) {
        let path = rest.rsplit_once(" (").map_or(rest, |(path, _)| path);
        if !path.starts_with('/') || name.contains("..") {
            return Err(format!("{name} is {rest}"));
        }
        // Some list the loader too, by its whole path.
        if !name.starts_with('/') {
            libraries.push(Library { name: name.to_owned(), path: PathBuf::from(path) });
        }
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_of_loaders() {
        let listing = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                       \t/lib64/ld-linux-x86-64.so.2 => /usr/lib64/ld.so (0x0)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let libc = Library { name: "libc.so.6".to_owned(), path: "/lib/x86_64-linux-gnu/libc.so.6".into() };
        assert_eq!(parse_listing(listing).unwrap(), [libc]);
        assert!(parse_listing("libx.so => not found\n").is_err());
    }

    #[test]
    fn this_test_has_a_loader_that_lists_its_libraries() {
        let own = Path::new("/proc/self/exe");
        if let Some(loader) = interpreter(&File::open(own).unwrap()).unwrap() {
            let own = own.canonicalize().unwrap();
            assert!(libraries(&loader, &own).unwrap().iter().any(|library| library.name.starts_with("libc.")));
        }
    }

    #[test]
    fn damaged_programs_are_refused() {
        use std::io::Write;
        for bytes in [&b""[..], b"#!/bin/sh\n", &[0x7f, b'E', b'L', b'F', 2, 1, 1, 0], &[0xff; 64]] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            assert!(interpreter(&file).is_err(), "{bytes:?}");
        }
    }
}
