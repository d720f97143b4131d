//! Takes images from archives and folders into the store, and what every way in shares: layers are unpacked, checked
//! and put in place one by one, then the image gets its names.

use super::archive::{Found, Source};
use super::digest::{Digest, Hashing};
use super::fault::{Fault, io_error};
use super::index::Record;
use super::layers::{LayerRecord, chain_id};
use super::name::ImageName;
use super::store::{ImageStore, Work};
use super::{limits, unpack};
use crate::{Image, RuntimeError};
use oci_spec::image::{Arch, ImageConfiguration, Os};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// How far one layer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The layer's digest.
    pub layer: String,
    pub step: Step,
    pub done_bytes: u64,
    /// Where it is known.
    pub total_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Downloading,
    Unpacking,
    /// It was here already, or is now.
    Done,
}

/// Who wants to know; called often, from any thread.
pub type Report<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// For nobody.
pub fn silent() -> impl Fn(Progress) + Send + Sync {
    |_| {}
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match self.step {
            Step::Downloading => "downloading",
            Step::Unpacking => "unpacking",
            Step::Done => "done with",
        };
        let layer = self.layer.trim_start_matches("sha256:").get(..12).unwrap_or(&self.layer);
        write!(f, "{step} layer {layer}")?;
        match self.step {
            Step::Done => Ok(()),
            _ => write!(f, ", {} MB", self.done_bytes / 1_000_000),
        }
    }
}

/// A layer's bytes as they came, and what they must be if that is known.
pub struct LayerStream {
    pub reader: Box<dyn Read + Send>,
    pub digest: Option<Digest>,
}

/// What is known of an image before its layers.
pub struct Incoming<'a> {
    pub origin: &'a str,
    pub config: &'a [u8],
    pub names: &'a [ImageName],
    /// `registry/repository@digest`.
    pub digests: BTreeSet<String>,
}

impl ImageStore {
    /// All images of an archive (`docker save`, OCI; plain, gzip or zstd) or an OCI layout folder. All or, on an error,
    /// those before the bad one. Blocks for long: not for an async thread.
    pub fn import(&self, path: &Path, report: Report<'_>) -> Result<Vec<Image>, RuntimeError> {
        let origin = path.display().to_string();
        let working = self.work()?;
        let result = self.import_from(&working, path, &origin, report);
        drop(working);
        if result.is_err() {
            // Layers of an image that was refused later.
            self.collect()?;
        }
        result
    }

    fn import_from(
        &self,
        working: &Work,
        path: &Path,
        origin: &str,
        report: Report<'_>,
    ) -> Result<Vec<Image>, RuntimeError> {
        let source = self.source(path, origin)?;
        let found = source.images().map_err(|fault| fault.of(origin))?;
        found.iter().map(|found| self.import_one(working, &source, found, origin, report)).collect()
    }

    fn import_one(
        &self,
        working: &Work,
        source: &Source,
        found: &Found,
        origin: &str,
        report: Report<'_>,
    ) -> Result<Image, RuntimeError> {
        let config = source.part(&found.config).map_err(|fault| fault.of(origin))?;
        let digests = match &found.manifest {
            Some(digest) => found.names.iter().map(|name| format!("{}@{digest}", name.place())).collect(),
            None => BTreeSet::new(),
        };
        let incoming = Incoming { origin, config: &config, names: &found.names, digests };
        let chain = self.chain_of(&incoming, found.layers.len())?;
        for (n, part) in found.layers.iter().enumerate() {
            let open = || {
                let missing = || Fault::bad(format!("{:?} is missing", part.name)).of(origin);
                let reader = source.open(&part.name).map_err(|fault| fault.of(origin))?.ok_or_else(missing)?;
                Ok(LayerStream { reader, digest: part.digest.clone() })
            };
            self.ensure_layer(working, &chain, n, origin, report, open)?;
        }
        self.publish_chain(working, incoming, &chain)
    }

    /// Opens what is at `path`; a compressed archive is unpacked aside first, because its members are read in any order.
    fn source(&self, path: &Path, origin: &str) -> Result<Source, RuntimeError> {
        let doing = || format!("opening {origin}");
        if path.metadata().map_err(io_error(doing()))?.is_dir() {
            return Source::folder(path).map_err(|fault| fault.of(origin));
        }
        let mut file = File::open(path).map_err(io_error(doing()))?;
        let mut magic = [0; 4];
        let n = read_up_to(&mut file, &mut magic).map_err(io_error(doing()))?;
        io::Seek::rewind(&mut file).map_err(io_error(doing()))?;
        if compression(&magic[..n]) != Compression::None {
            file = self.decompress_aside(file).map_err(|fault| fault.of(origin))?;
        }
        Source::archive(file).map_err(|fault| fault.of(origin))
    }

    fn decompress_aside(&self, file: File) -> Result<File, Fault> {
        let mut aside = tempfile::tempfile_in(self.staging()).map_err(Fault::host("making a temporary file"))?;
        let mut plain = plain(Box::new(file))?.take(limits::LAYER_BYTES + 1);
        let mut buffer = vec![0; 128 << 10];
        loop {
            match plain.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    io::Write::write_all(&mut aside, &buffer[..n]).map_err(Fault::host("writing a temporary file"))?
                }
                Err(e) => return Err(Fault::read("decompressing", e)),
            }
        }
        match plain.limit() {
            0 => Err(Fault::bad(format!("more than {} bytes", limits::LAYER_BYTES))),
            _ => Ok(aside),
        }
    }

    /// The chain that an image's configuration asks for, lowest first, with each layer's diff id.
    pub(super) fn chain_of(
        &self,
        incoming: &Incoming<'_>,
        layers: usize,
    ) -> Result<Vec<(Digest, Digest)>, RuntimeError> {
        let bad = |why: String| RuntimeError::BadImage { origin: incoming.origin.to_owned(), why };
        let config =
            ImageConfiguration::from_reader(incoming.config).map_err(|e| bad(format!("its configuration: {e}")))?;
        if *config.os() != Os::default() || *config.architecture() != Arch::default() {
            return Err(bad(format!(
                "it is for {}/{}, this host is {}/{}",
                config.os(),
                config.architecture(),
                Os::default(),
                Arch::default()
            )));
        }
        let diff_ids = config.rootfs().diff_ids();
        if diff_ids.len() != layers {
            return Err(bad(format!("its configuration lists {} layers, its manifest {layers}", diff_ids.len())));
        }
        if layers > limits::IMAGE_LAYERS {
            return Err(bad(format!("{layers} layers, at most {} can be stacked", limits::IMAGE_LAYERS)));
        }
        let mut chain: Vec<(Digest, Digest)> = Vec::with_capacity(layers);
        for diff_id in diff_ids {
            let diff_id = Digest::parse(diff_id).map_err(|fault| fault.of(incoming.origin))?;
            let id = chain_id(chain.last().map(|(id, _)| id), &diff_id);
            chain.push((id, diff_id));
        }
        Ok(chain)
    }

    /// Puts layer `n` in place if it is not there yet; only then is it opened.
    pub(super) fn ensure_layer(
        &self,
        _working: &Work,
        chain: &[(Digest, Digest)],
        n: usize,
        origin: &str,
        report: Report<'_>,
        open: impl FnOnce() -> Result<LayerStream, RuntimeError>,
    ) -> Result<(), RuntimeError> {
        let (id, diff_id) = &chain[n];
        if !self.layers().usable(id)? {
            let draft = self.layers().draft()?;
            let lowers: Vec<_> = chain[..n].iter().rev().map(|(below, _)| self.layers().diff(below)).collect();
            let reader = Reporting { inner: open()?, layer: diff_id.as_str(), report, done: 0, told: 0 };
            let bytes = unpack_checked(reader, diff_id, &draft.diff(), &lowers)
                .map_err(|fault| fault.of(format!("layer {} of {origin}", n + 1)))?;
            let parent = n.checked_sub(1).map(|below| chain[below].0.clone());
            self.layers().keep(draft, id, &LayerRecord { diff_id: diff_id.clone(), parent, bytes, boot: None })?;
        }
        report(Progress { layer: diff_id.to_string(), step: Step::Done, done_bytes: 0, total_bytes: None });
        Ok(())
    }

    pub(super) fn publish_chain(
        &self,
        working: &Work,
        incoming: Incoming<'_>,
        chain: &[(Digest, Digest)],
    ) -> Result<Image, RuntimeError> {
        let mut bytes = 0;
        for (id, _) in chain {
            bytes += self.layers().record(id)?.map_or(0, |record| record.bytes);
        }
        let config = ImageConfiguration::from_reader(incoming.config).expect("it was parsed before its layers were");
        let user = config.config().as_ref().and_then(|config| config.user().clone()).filter(|user| !user.is_empty());
        let record = Record {
            chain: chain.iter().map(|(id, _)| id.clone()).collect(),
            digests: incoming.digests,
            bytes,
            created_at: config.created().as_ref().and_then(|at| at.parse().ok()),
            user,
        };
        let mut added = self.publish(working, vec![(incoming.config.to_vec(), record, incoming.names.to_vec())])?;
        Ok(added.pop().expect("one in, one out"))
    }
}

fn unpack_checked(mut stream: Reporting<'_>, diff_id: &Digest, into: &Path, lowers: &[PathBuf]) -> Result<u64, Fault> {
    let Some(expected) = stream.inner.digest.clone() else {
        return unpack_plain(&mut stream, diff_id, into, lowers);
    };
    let mut stored = Hashing::new(stream, limits::LAYER_BYTES);
    let bytes = unpack_plain(&mut stored, diff_id, into, lowers)?;
    let (found, _) = stored.finish().map_err(|e| Fault::read("reading", e))?;
    match expected == found {
        true => Ok(bytes),
        false => Err(Fault::bad(format!("its digest is {found}, not {expected}"))),
    }
}

fn unpack_plain(
    stored: &mut (dyn Read + Send),
    diff_id: &Digest,
    into: &Path,
    lowers: &[PathBuf],
) -> Result<u64, Fault> {
    // A second bound, on the plain bytes: headers and padding count too.
    let mut content = Hashing::new(plain(Box::new(stored))?, 2 * limits::LAYER_BYTES);
    let bytes = unpack::unpack(&mut content, into, lowers)?;
    let (found, _) = content.finish().map_err(|e| Fault::read("decompressing", e))?;
    match found == *diff_id {
        true => Ok(bytes),
        false => Err(Fault::bad(format!("its content has digest {found}, not {diff_id}"))),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

/// By the first bytes, because media types are often wrong.
fn compression(magic: &[u8]) -> Compression {
    match magic {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Compression::Zstd,
        _ => Compression::None,
    }
}

fn plain<'a>(mut reader: Box<dyn Read + Send + 'a>) -> Result<Box<dyn Read + 'a>, Fault> {
    let mut magic = [0; 4];
    let n = read_up_to(&mut reader, &mut magic).map_err(|e| Fault::read("reading", e))?;
    let whole = io::Cursor::new(magic[..n].to_vec()).chain(reader);
    Ok(match compression(&magic[..n]) {
        Compression::None => Box::new(io::BufReader::with_capacity(128 << 10, whole)),
        Compression::Gzip => {
            Box::new(flate2::bufread::MultiGzDecoder::new(io::BufReader::with_capacity(64 << 10, whole)))
        }
        Compression::Zstd => {
            Box::new(zstd::stream::read::Decoder::new(whole).map_err(|e| Fault::read("starting to decompress", e))?)
        }
    })
}

fn read_up_to(reader: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match reader.read(&mut into[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

const TELL_BYTES: u64 = 1 << 20;

struct Reporting<'a> {
    inner: LayerStream,
    layer: &'a str,
    report: Report<'a>,
    done: u64,
    told: u64,
}

impl Read for Reporting<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.reader.read(into)?;
        self.done += n as u64;
        if self.done - self.told >= TELL_BYTES {
            self.told = self.done;
            (self.report)(Progress {
                layer: self.layer.to_owned(),
                step: Step::Unpacking,
                done_bytes: self.done,
                total_bytes: None,
            });
        }
        Ok(n)
    }
}
