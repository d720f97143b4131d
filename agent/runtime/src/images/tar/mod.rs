//! Reading tar archives from strangers. Fields are parsed by the `tar` crate; the stream is ours, because that crate
//! reads extension headers of any size into memory, splits PAX records at newlines (binary attributes have them) and does
//! not know PAX sparse files.

mod pax;
mod sparse;

use super::fault::Fault;
use super::limits;
use ::tar::{EntryType, Header};
use pax::Extensions;
pub use sparse::Extent;
use std::io::{self, Read, Seek, SeekFrom};

pub const BLOCK: u64 = 512;

/// One file, folder or link of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub path: Vec<u8>,
    pub kind: Kind,
    /// Permission bits, set-id and sticky bits among them.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Time,
    pub xattrs: Vec<(String, Vec<u8>)>,
    /// Where its stored bytes begin in the archive.
    pub offset: u64,
    /// Stored bytes.
    pub stored: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    /// A file with holes, this long; its stored bytes are those of the extents, one after the other.
    Sparse {
        bytes: u64,
        extents: Vec<Extent>,
    },
    Folder,
    Symlink {
        target: Vec<u8>,
    },
    HardLink {
        target: Vec<u8>,
    },
    Fifo,
    Device {
        block: bool,
        major: u32,
        minor: u32,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    pub seconds: i64,
    pub nanos: u32,
}

/// A stream that can pass over bytes.
pub trait Skip: Read {
    fn skip(&mut self, bytes: u64) -> io::Result<()>;
}

/// Passes over bytes by reading them, so that a digest sees them too.
pub struct Sequential<R>(pub R);

impl<R: Read> Read for Sequential<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl<R: Read> Skip for Sequential<R> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        match io::copy(&mut (&mut self.0).take(bytes), &mut io::sink())? {
            n if n == bytes => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Passes over bytes by seeking.
pub struct Seeking<R> {
    inner: R,
    left: u64,
}

impl<R: Read + Seek> Seeking<R> {
    pub fn new(mut inner: R) -> io::Result<Self> {
        let left = inner.seek(SeekFrom::End(0))?;
        inner.rewind()?;
        Ok(Seeking { inner, left })
    }
}

impl<R: Read> Read for Seeking<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(into)?;
        self.left = self.left.saturating_sub(n as u64);
        Ok(n)
    }
}

impl<R: Read + Seek> Skip for Seeking<R> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.left = self.left.checked_sub(bytes).ok_or(io::ErrorKind::UnexpectedEof)?;
        let bytes = i64::try_from(bytes).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        self.inner.seek_relative(bytes)
    }
}

/// An archive's members, one after the other. Read as [`Read`], it gives the stored bytes of the current one.
pub struct Members<R> {
    inner: R,
    position: u64,
    /// Of the current member's stored bytes.
    unread: u64,
    padding: u64,
}

impl<R: Skip> Members<R> {
    pub fn new(inner: R) -> Self {
        Members { inner, position: 0, unread: 0, padding: 0 }
    }

    /// The next member; what was not read of the current one is passed over.
    pub fn next(&mut self) -> Result<Option<Member>, Fault> {
        let mut extensions = Extensions::default();
        // Of all extension headers before one member together: any number of them may stand there.
        let mut room = limits::EXTENSION_BYTES;
        loop {
            self.pass_body()?;
            let Some(header) = self.header()? else {
                return match extensions.is_empty() {
                    true => Ok(None),
                    false => Err(Fault::bad("the archive ends after an extension header")),
                };
            };
            let size = header.entry_size().map_err(Fault::bad)?;
            match header.entry_type() {
                EntryType::XHeader => extensions.add_pax(&self.extension(size, &mut room)?)?,
                EntryType::GNULongName => extensions.path = Some(text(self.extension(size, &mut room)?)),
                EntryType::GNULongLink => extensions.link = Some(text(self.extension(size, &mut room)?)),
                // Defaults for all that follows; no tool puts anything there that matters to files.
                EntryType::XGlobalHeader => drop(self.extension(size, &mut room)?),
                _ => return self.member(&header, size, extensions).map(Some),
            }
        }
    }

    fn member(&mut self, header: &Header, size: u64, extensions: Extensions) -> Result<Member, Fault> {
        let path = extensions.path.clone().unwrap_or_else(|| header.path_bytes().into_owned());
        let shown = String::from_utf8_lossy(&path).into_owned();
        let bad = |e: io::Error| Fault::bad(format!("{shown:?}: {e}"));
        check_length(&path, &shown)?;
        let size = extensions.size.unwrap_or(size);
        let kind = self.kind(header, &shown, &extensions)?;
        let has_body = matches!(kind, Kind::File) || header.entry_type().is_gnu_sparse();
        self.begin_body(if has_body { size } else { 0 })?;
        let kind = match kind {
            Kind::File => sparse::of(self, header, &extensions)?,
            other => other,
        };
        let id = |value: Option<u64>, field: io::Result<u64>| {
            let value = value.map_or(field, Ok).map_err(bad)?;
            u32::try_from(value).map_err(|_| Fault::bad(format!("{shown:?}: an owner of {value} is out of range")))
        };
        let mtime = match extensions.mtime {
            Some(time) => time,
            None => Time { seconds: header.mtime().map_err(bad)?.try_into().unwrap_or(i64::MAX), nanos: 0 },
        };
        Ok(Member {
            kind,
            mode: header.mode().map_err(bad)? & 0o7777,
            uid: id(extensions.uid, header.uid())?,
            gid: id(extensions.gid, header.gid())?,
            mtime,
            xattrs: extensions.xattrs,
            offset: self.position,
            stored: self.unread,
            path: extensions.sparse.name.unwrap_or(path),
        })
    }

    fn kind(&self, header: &Header, shown: &str, extensions: &Extensions) -> Result<Kind, Fault> {
        let target = || -> Result<Vec<u8>, Fault> {
            let target = extensions.link.clone().or_else(|| header.link_name_bytes().map(|link| link.into_owned()));
            let target = target.filter(|t| !t.is_empty() && t.len() <= limits::PATH_BYTES && !t.contains(&0));
            target.ok_or_else(|| Fault::bad(format!("{shown:?}: a link with no usable target")))
        };
        let device = |block| -> Result<Kind, Fault> {
            let number = |field: io::Result<Option<u32>>| field.map_err(Fault::bad).map(Option::unwrap_or_default);
            Ok(Kind::Device { block, major: number(header.device_major())?, minor: number(header.device_minor())? })
        };
        Ok(match header.entry_type() {
            // Before POSIX, folders were files with a slash at the end.
            EntryType::Regular if header.as_bytes()[156] == 0 && shown.ends_with('/') => Kind::Folder,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
            EntryType::Directory => Kind::Folder,
            EntryType::Symlink => Kind::Symlink { target: target()? },
            EntryType::Link => Kind::HardLink { target: target()? },
            EntryType::Fifo => Kind::Fifo,
            EntryType::Char => device(false)?,
            EntryType::Block => device(true)?,
            other => return Err(Fault::bad(format!("{shown:?} is of unknown type {:?}", other.as_byte() as char))),
        })
    }

    fn header(&mut self) -> Result<Option<Header>, Fault> {
        let mut header = Header::new_old();
        if !self.block(header.as_mut_bytes())? || header.as_bytes().iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let bytes = header.as_bytes();
        let sum: u32 =
            bytes.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { 32 } else { u32::from(*b) }).sum();
        match header.cksum() {
            Ok(said) if said == sum => Ok(Some(header)),
            _ => Err(Fault::bad(format!("the header at byte {} is damaged", self.position - BLOCK))),
        }
    }

    /// One whole block; false at the end of the stream.
    fn block(&mut self, into: &mut [u8; BLOCK as usize]) -> Result<bool, Fault> {
        let mut filled = 0;
        while filled < into.len() {
            match self.inner.read(&mut into[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(Fault::bad("the archive is cut off")),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Fault::read("reading the archive", e)),
            }
        }
        self.position += BLOCK;
        Ok(true)
    }

    fn extension(&mut self, size: u64, room: &mut u64) -> Result<Vec<u8>, Fault> {
        *room = room.checked_sub(size).ok_or_else(|| {
            Fault::bad(format!("extension headers of more than {} bytes for one member", limits::EXTENSION_BYTES))
        })?;
        self.begin_body(size)?;
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).map_err(|e| Fault::read("reading the archive", e))?;
        Ok(bytes)
    }

    fn begin_body(&mut self, size: u64) -> Result<(), Fault> {
        let padded = size.checked_next_multiple_of(BLOCK);
        let padded = padded.filter(|padded| self.position.checked_add(*padded).is_some());
        let padded = padded.ok_or_else(|| Fault::bad(format!("a member of {size} bytes")))?;
        (self.unread, self.padding) = (size, padded - size);
        Ok(())
    }

    fn pass_body(&mut self) -> Result<(), Fault> {
        let bytes = self.unread + self.padding;
        self.inner.skip(bytes).map_err(|e| Fault::read("reading the archive", e))?;
        self.position += bytes;
        (self.unread, self.padding) = (0, 0);
        Ok(())
    }
}

impl<R: Skip> Read for Members<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(usize::try_from(self.unread).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let n = self.inner.read(&mut into[..most])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.unread -= n as u64;
        self.position += n as u64;
        Ok(n)
    }
}

fn check_length(path: &[u8], shown: &str) -> Result<(), Fault> {
    match path.len() {
        0 => Err(Fault::bad("a member has no name")),
        n if n > limits::PATH_BYTES => Err(Fault::bad(format!("a path of {n} bytes"))),
        _ if path.contains(&0) => Err(Fault::bad(format!("{shown:?} has a zero byte"))),
        _ => Ok(()),
    }
}

/// Up to the zero byte that ends it.
fn text(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|b| *b == 0) {
        bytes.truncate(end);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_extensions(headers: usize, value_bytes: usize) -> Vec<u8> {
        let mut archive = Vec::new();
        let mut add = |kind, body: &[u8]| {
            let mut header = Header::new_ustar();
            header.set_entry_type(kind);
            header.set_path("member").unwrap();
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(body.len() as u64);
            header.set_cksum();
            archive.extend(header.as_bytes());
            archive.extend(body);
            archive.resize(archive.len().next_multiple_of(BLOCK as usize), 0);
        };
        let key = "SCHILY.xattr.user.x=";
        let record = format!("{} {key}{}\n", 6 + 2 + key.len() + value_bytes, "v".repeat(value_bytes));
        for _ in 0..headers {
            add(EntryType::XHeader, record.as_bytes());
        }
        add(EntryType::Regular, b"");
        archive
    }

    #[test]
    fn extension_headers_of_one_member_are_bounded_together() {
        let read = |archive: &[u8]| Members::new(Sequential(archive)).next();
        assert_eq!(read(&with_extensions(2, 400_000)).unwrap().unwrap().xattrs.len(), 2);
        let refused = read(&with_extensions(3, 400_000)).unwrap_err().to_string();
        assert!(refused.contains("extension headers"), "{refused}");
    }
}
