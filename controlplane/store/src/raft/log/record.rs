//! How log entries and the vote look on disk.
//!
//! An entry is a format byte, the term, a kind and its payload, cut into pieces that sled can hold in its pages. Each
//! piece is a record of its own under the entry's index and the piece's number, and says how many there are.

use crate::limits::PIECE_BYTES;
use crate::raft::command::{Batch, Command};
use crate::raft::{Entry, LogId, Vote, log_id};
use crate::wire::{Source, invalid, put_u32, put_u64};
use bytes::Bytes;
use openraft::EntryPayload;
use openraft::vote::leader_id_std::LeaderId;
use std::io::{self, Read};

const FORMAT: u8 = 1;

pub const VOTE: &[u8] = b"m/vote";
pub const PURGED: &[u8] = b"m/purged";

/// The keys of entries sort by index, then by piece.
pub fn key(index: u64, piece: u32) -> [u8; 13] {
    let mut key = [b'l'; 13];
    key[1..9].copy_from_slice(&index.to_be_bytes());
    key[9..].copy_from_slice(&piece.to_be_bytes());
    key
}

pub fn parse_key(key: &[u8]) -> io::Result<(u64, u32)> {
    let rest: Option<[u8; 12]> = key.strip_prefix(b"l").and_then(|rest| rest.try_into().ok());
    let rest = rest.ok_or_else(|| invalid(format!("a record with the strange key {}", key.escape_ascii())))?;
    let (index, piece) = rest.split_at(8);
    let index = index.try_into().map(u64::from_be_bytes).expect("split at eight");
    let piece = piece.try_into().map(u32::from_be_bytes).expect("four remain of twelve");
    Ok((index, piece))
}

pub fn encode(entry: &Entry) -> io::Result<Vec<u8>> {
    let mut out = vec![FORMAT];
    put_u64(&mut out, entry.log_id.leader_id.term)?;
    match &entry.payload {
        EntryPayload::Blank => out.push(0),
        EntryPayload::Normal(Command(bytes)) => {
            out.push(1);
            out.extend_from_slice(bytes);
        }
        EntryPayload::Membership(membership) => {
            out.push(2);
            serde_json::to_writer(&mut out, membership)?;
        }
    }
    Ok(out)
}

pub fn decode(index: u64, bytes: &[u8]) -> io::Result<Entry> {
    let named = |error: io::Error| invalid(format!("log entry {index}: {error}"));
    decode_entry(index, bytes).map_err(named)
}

fn decode_entry(index: u64, bytes: &[u8]) -> io::Result<Entry> {
    let mut source = Source(bytes);
    let format = source.u8()?;
    if format != FORMAT {
        return Err(invalid(format!("format {format} is not known to this version, only {FORMAT}")));
    }
    let log_id = log_id(source.u64()?, index);
    let payload = match source.u8()? {
        0 => EntryPayload::Blank,
        1 => EntryPayload::Normal(Command(Bytes::copy_from_slice(source.0))),
        2 => EntryPayload::Membership(serde_json::from_slice(source.0)?),
        kind => return Err(invalid(format!("unknown kind {kind}"))),
    };
    Ok(Entry { log_id, payload })
}

/// Whether this version can apply the entry; asked once, when the log is opened.
pub fn check(entry: &Entry) -> io::Result<()> {
    match &entry.payload {
        EntryPayload::Normal(command) => Batch::decode(command)
            .map(|_| ())
            .map_err(|error| invalid(format!("log entry {}: {error}", entry.log_id.index))),
        EntryPayload::Blank | EntryPayload::Membership(_) => Ok(()),
    }
}

/// The pieces of an encoded entry, each with the number of all.
pub fn pieces(encoded: &[u8]) -> impl Iterator<Item = (u32, Vec<u8>)> + '_ {
    let count = encoded.len().div_ceil(PIECE_BYTES) as u32;
    encoded.chunks(PIECE_BYTES).zip(0..).map(move |(chunk, number)| {
        let mut piece = Vec::with_capacity(4 + chunk.len());
        piece.extend_from_slice(&count.to_le_bytes());
        piece.extend_from_slice(chunk);
        (number, piece)
    })
}

/// Puts entries together again from their pieces, which come in key order.
#[derive(Default)]
pub struct Assembly {
    index: u64,
    next: u32,
    count: u32,
    bytes: Vec<u8>,
}

impl Assembly {
    /// The entry that `piece` completes, if it does.
    pub fn add(&mut self, key: &[u8], piece: &[u8]) -> io::Result<Option<(u64, Vec<u8>)>> {
        let (index, number) = parse_key(key)?;
        let mut source = Source(piece);
        let count = source.u32()?;
        if self.next == 0 {
            (self.index, self.count) = (index, count);
        }
        if (index, number, count) != (self.index, self.next, self.count) || number >= count {
            return Err(invalid(format!("log entry {} lacks piece {}", self.index, self.next)));
        }
        self.bytes.extend_from_slice(source.0);
        self.next += 1;
        if self.next < count {
            return Ok(None);
        }
        self.next = 0;
        Ok(Some((index, std::mem::take(&mut self.bytes))))
    }

    /// The index of an entry whose last pieces are missing.
    pub fn incomplete(&self) -> Option<u64> {
        (self.next > 0).then_some(self.index)
    }
}

pub fn encode_vote(vote: &Vote) -> io::Result<Vec<u8>> {
    let mut out = vec![FORMAT];
    put_u64(&mut out, vote.leader_id.term)?;
    put_u64(&mut out, vote.leader_id.voted_for)?;
    put_u32(&mut out, u32::from(vote.committed))?;
    Ok(out)
}

pub fn decode_vote(bytes: &[u8]) -> io::Result<Vote> {
    let mut source = meta(bytes, "vote")?;
    let leader_id = LeaderId { term: source.u64()?, voted_for: source.u64()? };
    let committed = source.u32()? != 0;
    source.end()?;
    Ok(Vote { leader_id, committed })
}

pub fn encode_log_id(id: &LogId) -> io::Result<Vec<u8>> {
    let mut out = vec![FORMAT];
    put_u64(&mut out, id.leader_id.term)?;
    put_u64(&mut out, id.index)?;
    Ok(out)
}

pub fn decode_log_id(bytes: &[u8]) -> io::Result<LogId> {
    let mut source = meta(bytes, "purge mark")?;
    let id = log_id(source.u64()?, source.u64()?);
    source.end()?;
    Ok(id)
}

fn meta<'a>(bytes: &'a [u8], what: &str) -> io::Result<Source<impl Read + use<'a>>> {
    let mut source = Source(bytes);
    match source.u8()? {
        FORMAT => Ok(source),
        format => Err(invalid(format!("format {format} of the {what} is not known to this version"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openraft::entry::RaftEntry;

    fn entry(index: u64, length: usize) -> Entry {
        Entry { log_id: log_id(3, index), payload: EntryPayload::Normal(Command(vec![7; length].into())) }
    }

    fn records(entry: &Entry) -> Vec<([u8; 13], Vec<u8>)> {
        let encoded = encode(entry).expect("it fits");
        pieces(&encoded).map(|(number, piece)| (key(entry.log_id.index, number), piece)).collect()
    }

    #[test]
    fn an_entry_of_any_length_survives_being_cut_into_pieces() {
        for length in [0, 1, PIECE_BYTES - 11, PIECE_BYTES - 10, PIECE_BYTES - 9, 5 * PIECE_BYTES] {
            let entry = entry(9, length);
            let mut assembly = Assembly::default();
            let mut whole = records(&entry)
                .into_iter()
                .filter_map(|(key, piece)| assembly.add(&key, &piece).expect("the pieces are in order"));
            let (index, bytes) = whole.next().expect("the last piece completes it");
            assert!(whole.next().is_none());
            let decoded = decode(index, &bytes).expect("it was encoded here");
            assert_eq!(format!("{decoded:?}"), format!("{entry:?}"));
        }
    }

    #[test]
    fn a_missing_piece_is_noticed() {
        let records = records(&entry(9, 3 * PIECE_BYTES));
        for missing in 0..records.len() {
            let mut assembly = Assembly::default();
            let kept = records.iter().enumerate().filter(|(number, _)| *number != missing);
            let added: io::Result<Vec<_>> = kept.map(|(_, (key, piece))| assembly.add(key, piece)).collect();
            assert!(added.is_err() || assembly.incomplete() == Some(9), "piece {missing}");
        }
    }

    #[test]
    fn votes_and_marks_survive_encoding_and_unknown_formats_do_not() {
        let vote = Vote::new_committed(7, 2);
        let mut bytes = encode_vote(&vote).expect("it is small");
        assert_eq!(decode_vote(&bytes).ok(), Some(vote));
        bytes[0] += 1;
        assert!(decode_vote(&bytes).is_err());
        let bytes = encode_log_id(&log_id(4, 5)).expect("it is small");
        assert_eq!(decode_log_id(&bytes).ok(), Some(log_id(4, 5)));
        assert!(decode_log_id(&bytes[..8]).is_err());
    }

    #[test]
    fn blank_and_membership_entries_survive_encoding() {
        let members = std::collections::BTreeMap::from([(1, openraft::BasicNode::new("here"))]);
        let membership = Entry::new(log_id(0, 0), EntryPayload::Membership(openraft::Membership::from(members)));
        for entry in [membership, Entry::new(log_id(1, 1), EntryPayload::Blank)] {
            let bytes = encode(&entry).expect("it is small");
            let decoded = decode(entry.log_id.index, &bytes).expect("it was encoded here");
            assert_eq!(format!("{decoded:?}"), format!("{entry:?}"));
        }
    }
}
