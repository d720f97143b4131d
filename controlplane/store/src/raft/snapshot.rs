//! Snapshot files: a header, the map compressed, and a checksum over everything before it. Written aside, synced,
//! renamed; so a file under its final name is whole, and if it is not, somebody else damaged it.

use super::dir::sync_dir;
use super::{Membership, SnapshotMeta};
use crate::limits::{KEY_BYTES, VALUE_BYTES};
use crate::state::{Image, Map, ProposalId, Proposals};
use crate::wire::{Source, invalid, put_bytes, put_u64};
use crate::{Entry, Revision};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 16] = b"coracle snapshot";
const FORMAT: u8 = 1;
/// Fast rather than small: a snapshot competes with writes for the processor.
const LEVEL: i32 = 1;
/// The longest header; a membership of a few servers.
const META_BYTES: usize = 64 * 1024;
const SUFFIX: &str = "snap";
/// Of a snapshot that is being written.
const ASIDE: &str = "new";

/// An open snapshot file, to be read from its beginning.
pub struct SnapshotFile(pub File);

/// What a snapshot says.
pub struct Content {
    pub meta: SnapshotMeta,
    pub image: Image,
}

/// Writes a snapshot and makes it the only one. Returns how long its content is before compression.
pub fn write(dir: &Path, content: &Content) -> io::Result<(SnapshotFile, u64)> {
    let path = dir.join(name(&content.meta));
    let aside = path.with_extension(ASIDE);
    let mut out = Summing { inner: BufWriter::new(File::create(&aside)?), sum: crc32fast::Hasher::new() };
    out.write_all(MAGIC)?;
    out.write_all(&[FORMAT])?;
    put_bytes(&mut out, &serde_json::to_vec(&content.meta)?)?;
    let mut body = Counting { inner: zstd::Encoder::new(out, LEVEL)?, count: 0 };
    put_image(&mut body, &content.image)?;
    let length = body.count;
    let Summing { mut inner, sum } = body.inner.finish()?;
    inner.write_all(&sum.finalize().to_le_bytes())?;
    let file = inner.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&aside, &path)?;
    sync_dir(dir)?;
    remove_others(dir, &path)?;
    Ok((SnapshotFile(File::open(&path)?), length))
}

/// The newest snapshot of a directory, if there is one.
pub fn newest(dir: &Path) -> io::Result<Option<(PathBuf, SnapshotFile)>> {
    let paths = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    // Names sort as their log ids do.
    let Some(path) = paths.into_iter().filter(|path| has_suffix(path, SUFFIX)).max() else { return Ok(None) };
    let file = SnapshotFile(File::open(&path)?);
    Ok(Some((path, file)))
}

/// Removes what an interrupted write left behind. Only while nobody writes.
pub fn remove_leftovers(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if has_suffix(&path, ASIDE) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn has_suffix(path: &Path, suffix: &str) -> bool {
    path.extension().is_some_and(|extension| extension == suffix)
}

fn remove_others(dir: &Path, keep: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path != keep && has_suffix(&path, SUFFIX) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn name(meta: &SnapshotMeta) -> String {
    let (term, index) = meta.last_log_id.map_or((0, 0), |id| (id.leader_id.term, id.index));
    format!("{term:020}-{index:020}.{SUFFIX}")
}

impl SnapshotFile {
    /// What the header says; the rest is not looked at.
    pub fn meta(&self) -> io::Result<SnapshotMeta> {
        let mut file = &self.0;
        file.seek(SeekFrom::Start(0))?;
        header(&mut Source(BufReader::new(file)))
    }

    /// Checks the whole file, then decodes it; also returns how long the content is before compression.
    pub fn read(self) -> io::Result<(Content, u64)> {
        let mut file = self.0;
        let end = check_sum(&mut file)?;
        file.seek(SeekFrom::Start(0))?;
        let mut source = Source(BufReader::new(file).take(end));
        let meta = header(&mut source)?;
        let mut body = Counting { inner: zstd::Decoder::with_buffer(source.0)?, count: 0 };
        let image = image(&mut body)?;
        Ok((Content { meta, image }, body.count))
    }
}

/// Where the content ends and the checksum begins, if that is right.
fn check_sum(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let end = length.checked_sub(4).ok_or_else(|| invalid("the snapshot is too short"))?;
    file.seek(SeekFrom::Start(0))?;
    let mut sum = Summing { inner: io::sink(), sum: crc32fast::Hasher::new() };
    let mut reader = BufReader::new(file);
    io::copy(&mut (&mut reader).take(end), &mut sum)?;
    if Source(reader).u32()? == sum.sum.finalize() {
        Ok(end)
    } else {
        Err(invalid("the checksum of the snapshot is wrong"))
    }
}

fn header(source: &mut Source<impl Read>) -> io::Result<SnapshotMeta> {
    let mut magic = [0; MAGIC.len()];
    source.0.read_exact(&mut magic)?;
    if magic != *MAGIC {
        return Err(invalid("this is no snapshot"));
    }
    match source.u8()? {
        FORMAT => Ok(serde_json::from_slice(&source.bytes(META_BYTES)?)?),
        format => Err(invalid(format!("snapshot format {format} is not known to this version, only {FORMAT}"))),
    }
}

fn put_image(out: &mut impl Write, image: &Image) -> io::Result<()> {
    put_u64(out, image.revision.0)?;
    put_u64(out, image.map.len() as u64)?;
    for entry in image.map.values() {
        put_bytes(out, entry.key.as_bytes())?;
        put_bytes(out, &entry.value)?;
        put_u64(out, entry.created.0)?;
        put_u64(out, entry.modified.0)?;
    }
    put_u64(out, image.proposals.iter().len() as u64)?;
    for (id, revision) in image.proposals.iter() {
        put_u64(out, id.origin)?;
        put_u64(out, id.number)?;
        put_u64(out, revision.0)?;
    }
    Ok(())
}

fn image(body: impl Read) -> io::Result<Image> {
    let mut source = Source(body);
    let revision = Revision(source.u64()?);
    let mut map = Map::new();
    for _ in 0..source.u64()? {
        let entry = Entry {
            key: source.string(KEY_BYTES)?,
            value: source.bytes(VALUE_BYTES)?.into(),
            created: Revision(source.u64()?),
            modified: Revision(source.u64()?),
        };
        map.insert(entry.key.clone(), entry);
    }
    let mut proposals = Proposals::default();
    for _ in 0..source.u64()? {
        let id = ProposalId { origin: source.u64()?, number: source.u64()? };
        proposals.record(id, Revision(source.u64()?));
    }
    source.end()?;
    Ok(Image { revision, map, proposals })
}

/// The checksum of everything that was written.
struct Summing<W> {
    inner: W,
    sum: crc32fast::Hasher,
}

impl<W: Write> Write for Summing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// How much went through.
struct Counting<T> {
    inner: T,
    count: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count += read as u64;
        Ok(read)
    }
}

/// What the header of a snapshot at this point of the log says.
pub fn meta(last_log_id: Option<super::LogId>, last_membership: Membership) -> SnapshotMeta {
    SnapshotMeta { last_log_id, last_membership }
}

#[cfg(test)]
mod tests;
