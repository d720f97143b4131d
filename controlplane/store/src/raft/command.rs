//! What a Raft entry carries: the transactions that share it, encoded once by the proposer.

use crate::limits::{BATCH_TXNS, KEY_BYTES, TXN_BYTES, TXN_OPS};
use crate::state::{Millis, Proposal, ProposalId};
use crate::wire::{Source, invalid, put_bytes, put_u32, put_u64};
use crate::{Action, Expect, Op, Revision, Term, Txn};
use bytes::Bytes;
use std::fmt;
use std::io::{self, Read, Write};

/// The version this program writes, and the only one it understands.
const FORMAT: u8 = 1;

/// An encoded [`Batch`]; cheap to clone.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Command(pub Bytes);

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({} bytes)", self.0.len())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Transactions that are applied one after the other, each for itself.
#[derive(Debug)]
pub struct Batch {
    /// The proposer's clock, from which the history's age is reckoned on every replica.
    pub at: Millis,
    pub proposals: Vec<Proposal>,
}

impl Batch {
    pub fn encode(&self) -> io::Result<Command> {
        let bytes: usize = self.proposals.iter().map(|proposal| 64 + crate::size::of(&proposal.txn)).sum();
        let mut out = Vec::with_capacity(bytes);
        out.push(FORMAT);
        put_u64(&mut out, self.at.0)?;
        put_u32(&mut out, count(self.proposals.len())?)?;
        for proposal in &self.proposals {
            put_u64(&mut out, proposal.id.origin)?;
            put_u64(&mut out, proposal.id.number)?;
            put_txn(&mut out, &proposal.txn)?;
        }
        Ok(Command(out.into()))
    }

    pub fn decode(command: &Command) -> io::Result<Batch> {
        let mut source = Source(&command.0[..]);
        let format = source.u8()?;
        if format != FORMAT {
            return Err(invalid(format!("command format {format} is not known to this version, only {FORMAT}")));
        }
        let at = Millis(source.u64()?);
        let proposals = (0..bounded(source.u32()?, BATCH_TXNS)?).map(|_| {
            let id = ProposalId { origin: source.u64()?, number: source.u64()? };
            Ok(Proposal { id, txn: txn(&mut source)? })
        });
        let proposals = proposals.collect::<io::Result<_>>()?;
        source.end()?;
        Ok(Batch { at, proposals })
    }
}

fn count(length: usize) -> io::Result<u32> {
    u32::try_from(length).map_err(|_| invalid("too many to count"))
}

fn bounded(count: u32, max: usize) -> io::Result<u32> {
    if count as usize > max { Err(invalid(format!("{count} items, at most {max} are possible"))) } else { Ok(count) }
}

fn put_txn(out: &mut impl Write, txn: &Txn) -> io::Result<()> {
    match txn.term {
        None => out.write_all(&[0])?,
        Some(term) => {
            out.write_all(&[1])?;
            put_u64(out, term.0)?;
        }
    }
    put_u32(out, count(txn.ops.len())?)?;
    for op in &txn.ops {
        put_bytes(out, op.key.as_bytes())?;
        match op.expect {
            Expect::Anything => out.write_all(&[0])?,
            Expect::Absent => out.write_all(&[1])?,
            Expect::At(revision) => {
                out.write_all(&[2])?;
                put_u64(out, revision.0)?;
            }
        }
        match &op.action {
            Action::Check => out.write_all(&[0])?,
            Action::Delete => out.write_all(&[1])?,
            Action::Put(value) => {
                out.write_all(&[2])?;
                put_bytes(out, value)?;
            }
        }
    }
    Ok(())
}

fn txn(source: &mut Source<impl Read>) -> io::Result<Txn> {
    let term = match source.u8()? {
        0 => None,
        1 => Some(Term(source.u64()?)),
        tag => return Err(invalid(format!("unknown tag {tag} of a term"))),
    };
    let ops = (0..bounded(source.u32()?, TXN_OPS)?).map(|_| op(source)).collect::<io::Result<_>>()?;
    Ok(Txn { ops, term })
}

fn op(source: &mut Source<impl Read>) -> io::Result<Op> {
    let key = source.string(KEY_BYTES)?;
    let expect = match source.u8()? {
        0 => Expect::Anything,
        1 => Expect::Absent,
        2 => Expect::At(Revision(source.u64()?)),
        tag => return Err(invalid(format!("unknown expectation {tag}"))),
    };
    let action = match source.u8()? {
        0 => Action::Check,
        1 => Action::Delete,
        2 => Action::Put(source.bytes(TXN_BYTES)?.into()),
        tag => return Err(invalid(format!("unknown action {tag}"))),
    };
    Ok(Op { key, expect, action })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let expect = prop_oneof![
            Just(Expect::Anything),
            Just(Expect::Absent),
            any::<u64>().prop_map(|revision| Expect::At(Revision(revision))),
        ];
        let action = prop_oneof![
            Just(Action::Check),
            Just(Action::Delete),
            prop::collection::vec(any::<u8>(), 0..50).prop_map(|value| Action::Put(value.into())),
        ];
        let op = ("[a-zü/]{0,9}", expect, action);
        prop::collection::vec(op.prop_map(|(key, expect, action)| Op { key: key.into(), expect, action }), 0..5)
    }

    proptest! {
        #[test]
        fn a_batch_survives_encoding(
            at: u64,
            txns in prop::collection::vec((any::<(u64, u64)>(), any::<Option<u64>>(), ops()), 0..5),
        ) {
            let proposals = txns.into_iter().map(|((origin, number), term, ops)| {
                Proposal { id: ProposalId { origin, number }, txn: Txn { ops, term: term.map(Term) } }
            });
            let batch = Batch { at: Millis(at), proposals: proposals.collect() };
            let decoded = Batch::decode(&batch.encode().expect("it is small")).expect("it was encoded here");
            prop_assert_eq!(format!("{batch:?}"), format!("{decoded:?}"));
        }

        #[test]
        fn garbage_is_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..200), known: bool) {
            if known && !bytes.is_empty() {
                bytes[0] = FORMAT;
            }
            // Whatever it says, it must come back.
            let _ = Batch::decode(&Command(bytes.into()));
        }
    }

    #[test]
    fn every_cut_and_every_unknown_format_is_an_error() {
        let op = Op { key: "k".into(), expect: Expect::At(Revision(7)), action: Action::Put(Bytes::from_static(b"v")) };
        let txn = Txn { ops: vec![op], term: Some(Term(3)) };
        let batch = Batch { at: Millis(1), proposals: vec![Proposal { id: ProposalId { origin: 1, number: 2 }, txn }] };
        let Command(whole) = batch.encode().expect("it is small");
        for length in 0..whole.len() {
            assert!(Batch::decode(&Command(whole.slice(..length))).is_err(), "cut to {length}");
        }
        let mut newer = whole.to_vec();
        newer[0] = FORMAT + 1;
        let refused = Batch::decode(&Command(newer.into())).map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(refused, Err("command format 2 is not known to this version, only 1".to_owned()));
    }
}
