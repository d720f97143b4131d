//! How far the log was durable, kept outside of it.
//!
//! sled takes a damaged record for the end of its log and cuts everything after it off. From inside that looks like a
//! shorter log. The mark is a lower bound of what was acknowledged: it is written after each sync, without one of its
//! own, so it costs next to nothing; after a power cut it may be older than the log, never newer.

use crate::wire::invalid;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The index after the last durable entry.
    pub next: u64,
    /// The term of the last durable vote.
    pub term: u64,
}

pub struct MarkFile {
    file: File,
}

const LENGTH: usize = 20;

impl MarkFile {
    /// The mark of an empty file, as of a missing one, is zero: it was made and then the power went.
    pub fn open(path: &Path) -> io::Result<(MarkFile, Mark)> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = [0; LENGTH];
        let mark = match file.metadata()?.len() {
            0 => Mark::default(),
            _ => {
                file.read_exact_at(&mut bytes, 0)?;
                decode(&bytes)?
            }
        };
        Ok((MarkFile { file }, mark))
    }

    pub fn write(&self, mark: Mark) -> io::Result<()> {
        self.file.write_all_at(&encode(mark), 0)
    }

    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn encode(mark: Mark) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[..8].copy_from_slice(&mark.next.to_le_bytes());
    bytes[8..16].copy_from_slice(&mark.term.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..16]);
    bytes[16..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8; LENGTH]) -> io::Result<Mark> {
    let mut source = crate::wire::Source(&bytes[..]);
    let mark = Mark { next: source.u64()?, term: source.u64()? };
    if encode(mark) == *bytes { Ok(mark) } else { Err(invalid("the checksum of the mark is wrong")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_and_a_damaged_one_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("mark");
        let (file, mark) = MarkFile::open(&path).expect("it can be made");
        assert_eq!(mark, Mark::default());
        let written = Mark { next: 7, term: 3 };
        file.write(written).expect("it can be written");
        assert_eq!(MarkFile::open(&path).map(|(_, mark)| mark).ok(), Some(written));
        file.file.write_all_at(&[8], 0).expect("it can be written");
        let refused = MarkFile::open(&path).map(|_| ()).map_err(|error| error.kind());
        assert_eq!(refused, Err(io::ErrorKind::InvalidData));
    }
}
