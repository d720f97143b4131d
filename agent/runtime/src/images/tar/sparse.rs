//! Files with holes, in the forms GNU tar has written: the old header, and PAX 0.1 and 1.0.
//! Rule: <https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html>.

use super::pax::{Extensions, number};
use super::{BLOCK, Kind, Members, Skip};
use crate::images::fault::Fault;
use crate::images::limits;
use ::tar::{GnuExtSparseHeader, GnuSparseHeader, Header};
use std::io::Read;

/// A piece of data in a file with holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub offset: u64,
    pub bytes: u64,
}

/// The PAX records that begin with `GNU.sparse.`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SparseRecords {
    pub name: Option<Vec<u8>>,
    major: Option<u64>,
    minor: Option<u64>,
    real_size: Option<u64>,
    map: Option<Vec<u64>>,
    other: bool,
}

impl SparseRecords {
    /// `None` where the value is damaged; keys of something else are passed over.
    pub fn add(&mut self, key: &str, value: &[u8]) -> Option<()> {
        match key.strip_prefix("GNU.sparse.") {
            None => {}
            Some("name") => self.name = Some(value.to_vec()),
            Some("major") => self.major = Some(number(value)?),
            Some("minor") => self.minor = Some(number(value)?),
            Some("realsize" | "size") => self.real_size = Some(number(value)?),
            Some("map") => self.map = Some(value.split(|b| *b == b',').map(number).collect::<Option<_>>()?),
            Some("numblocks") => {}
            Some(_) => self.other = true,
        }
        Some(())
    }
}

/// A plain file, or the map of one with holes; the map that stands before the data is read here.
pub fn of<R: Skip>(members: &mut Members<R>, header: &Header, extensions: &Extensions) -> Result<Kind, Fault> {
    let records = &extensions.sparse;
    let (bytes, extents) = match (header.entry_type().is_gnu_sparse(), records.major, records.minor, &records.map) {
        (true, ..) => old(members, header)?,
        (false, Some(1), Some(0), _) => (real_size(records)?, map_before_data(members)?),
        (false, None, None, Some(map)) | (false, Some(0), Some(1), Some(map)) => (real_size(records)?, pairs(map)?),
        _ if *records == SparseRecords::default() => return Ok(Kind::File),
        _ => return Err(Fault::bad("a sparse file in a form that is not supported")),
    };
    check(&extents, bytes, members.unread)?;
    Ok(Kind::Sparse { bytes, extents })
}

fn real_size(records: &SparseRecords) -> Result<u64, Fault> {
    records.real_size.ok_or_else(|| Fault::bad("a sparse file without its size"))
}

fn old<R: Skip>(members: &mut Members<R>, header: &Header) -> Result<(u64, Vec<Extent>), Fault> {
    let gnu = header.as_gnu().ok_or_else(|| Fault::bad("a sparse file without a GNU header"))?;
    let mut extents = Vec::new();
    add_all(&mut extents, &gnu.sparse)?;
    let mut more = gnu.is_extended();
    while more {
        let mut block = GnuExtSparseHeader::new();
        if !members.block(block.as_mut_bytes())? {
            return Err(Fault::bad("the archive is cut off"));
        }
        add_all(&mut extents, block.sparse())?;
        more = block.is_extended();
    }
    Ok((gnu.real_size().map_err(Fault::bad)?, extents))
}

fn add_all(extents: &mut Vec<Extent>, headers: &[GnuSparseHeader]) -> Result<(), Fault> {
    for header in headers.iter().filter(|header| !header.is_empty()) {
        let extent =
            Extent { offset: header.offset().map_err(Fault::bad)?, bytes: header.length().map_err(Fault::bad)? };
        extents.push(extent);
    }
    match extents.len() {
        n if n > limits::SPARSE_EXTENTS => Err(Fault::bad("a sparse file in too many pieces")),
        _ => Ok(()),
    }
}

/// Decimal numbers, one a line: how many extents, then offset and size of each; filled up to a whole block.
fn map_before_data<R: Skip>(members: &mut Members<R>) -> Result<Vec<Extent>, Fault> {
    let mut lines = Lines { members, block: [0; BLOCK as usize], at: BLOCK as usize };
    let count = lines.number()?;
    if count > limits::SPARSE_EXTENTS as u64 {
        return Err(Fault::bad("a sparse file in too many pieces"));
    }
    (0..count).map(|_| Ok(Extent { offset: lines.number()?, bytes: lines.number()? })).collect()
}

struct Lines<'a, R> {
    members: &'a mut Members<R>,
    block: [u8; BLOCK as usize],
    at: usize,
}

impl<R: Skip> Lines<'_, R> {
    fn number(&mut self) -> Result<u64, Fault> {
        let mut digits = Vec::with_capacity(20);
        loop {
            if self.at == self.block.len() {
                self.members.read_exact(&mut self.block).map_err(|e| Fault::read("reading the archive", e))?;
                self.at = 0;
            }
            let byte = self.block[self.at];
            self.at += 1;
            match byte {
                b'\n' if !digits.is_empty() => break,
                b'0'..=b'9' if digits.len() < 20 => digits.push(byte),
                _ => return Err(Fault::bad("the map of a sparse file is damaged")),
            }
        }
        number(&digits).ok_or_else(|| Fault::bad("the map of a sparse file is damaged"))
    }
}

fn pairs(map: &[u64]) -> Result<Vec<Extent>, Fault> {
    match map.len().is_multiple_of(2) && map.len() / 2 <= limits::SPARSE_EXTENTS {
        true => Ok(map.chunks(2).map(|pair| Extent { offset: pair[0], bytes: pair[1] }).collect()),
        false => Err(Fault::bad("the map of a sparse file is damaged")),
    }
}

/// In order, apart from each other, within the file, and as long together as what is stored.
fn check(extents: &[Extent], size: u64, stored: u64) -> Result<(), Fault> {
    let mut end = 0u64;
    let mut sum = 0u64;
    for extent in extents {
        let next = extent.offset.checked_add(extent.bytes);
        match next {
            Some(next) if extent.offset >= end && next <= size => end = next,
            _ => return Err(Fault::bad("the map of a sparse file is out of order")),
        }
        sum += extent.bytes;
    }
    match sum == stored {
        true => Ok(()),
        false => Err(Fault::bad("the map of a sparse file does not fit its data")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_must_be_in_order_inside_and_complete() {
        let extent = |offset, bytes| Extent { offset, bytes };
        assert!(check(&[], 100, 0).is_ok());
        assert!(check(&[extent(0, 5), extent(5, 5), extent(100, 0)], 100, 10).is_ok());
        let bad: [&[Extent]; 4] =
            [&[extent(0, 5), extent(4, 5)], &[extent(95, 10)], &[extent(u64::MAX, 10)], &[extent(0, 9)]];
        for extents in bad {
            assert!(check(extents, 100, 10).is_err(), "{extents:?}");
        }
    }
}
