use super::*;
use crate::raft::command::{Batch, Command};
use crate::raft::log_id;
use crate::state::Millis;
use openraft::EntryPayload;

/// The records of an entry as the writer makes them.
fn records(
    term: u64,
    index: u64,
    payload: EntryPayload<Command, u64, openraft::BasicNode>,
) -> Vec<([u8; 13], Vec<u8>)> {
    let encoded = record::encode(&Entry { log_id: log_id(term, index), payload }).expect("it fits");
    record::pieces(&encoded).map(|(number, piece)| (record::key(index, number), piece)).collect()
}

fn normal(length: usize) -> EntryPayload<Command, u64, openraft::BasicNode> {
    let op = crate::Op {
        key: "k".into(),
        expect: crate::Expect::Anything,
        action: crate::Action::Put(vec![7; length].into()),
    };
    let id = crate::state::ProposalId { origin: 1, number: 2 };
    let txn = crate::Txn { ops: vec![op], term: None };
    let batch = Batch { at: Millis(0), proposals: vec![crate::state::Proposal { id, txn }] };
    EntryPayload::Normal(batch.encode().expect("it fits"))
}

type Change = Box<dyn FnOnce(&Disk)>;

/// A log with three entries, the last of several pieces, as `change` leaves it; then it is opened.
fn opened(mark: u64, change: impl FnOnce(&Disk)) -> Result<Loaded, String> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (log, mark_path) = (dir.path().join("log"), dir.path().join("mark"));
    {
        let disk = Disk::open(&log).expect("an empty log");
        for (index, payload) in [(0, EntryPayload::Blank), (1, normal(10)), (2, normal(20_000))] {
            for (key, piece) in records(1, index, payload) {
                disk.put(&key, &piece).expect("the disk works");
            }
        }
        change(&disk);
        disk.sync().expect("the disk works");
        let (file, _) = MarkFile::open(&mark_path).expect("a new mark");
        file.write(Mark { next: mark, term: 0 }).expect("the disk works");
    }
    let open = || LogFiles::open(&log, &mark_path).map(|files| files.loaded()).map_err(|error| error.to_string());
    let loaded = open();
    assert_eq!(open(), loaded, "what was found once is found again");
    loaded
}

fn upto(index: u64) -> Result<Loaded, String> {
    Ok(Loaded { purged: None, last: Some(log_id(1, index)) })
}

#[test]
fn a_whole_log_opens() {
    assert_eq!(opened(3, |_| {}), upto(2));
}

#[test]
fn the_torn_end_of_an_unacknowledged_entry_is_cut_off() {
    for missing in 1..4 {
        let torn = |disk: &Disk| {
            for piece in missing..5 {
                disk.remove(&record::key(2, piece)).expect("the disk works");
            }
        };
        assert_eq!(opened(2, torn), upto(1), "from piece {missing}");
        let refused = opened(3, torn).expect_err("it was acknowledged");
        assert!(refused.contains("entry 2 lacks its last pieces"), "{refused}");
    }
}

#[test]
fn an_acknowledged_entry_that_is_gone_is_damage() {
    let gone = |disk: &Disk| {
        for (key, _) in records(1, 2, normal(20_000)) {
            disk.remove(&key).expect("the disk works");
        }
    };
    assert_eq!(opened(2, gone), upto(1));
    let refused = opened(3, gone).expect_err("it was acknowledged");
    assert!(refused.contains("entry 2 was acknowledged"), "{refused}");
}

#[test]
fn a_hole_a_strange_format_and_a_wrong_order_are_damage() {
    let remove = |key: [u8; 13]| move |disk: &Disk| disk.remove(&key).expect("the disk works");
    let put = |records: Vec<([u8; 13], Vec<u8>)>| {
        move |disk: &Disk| records.iter().for_each(|(key, piece)| disk.put(key, piece).expect("the disk works"))
    };
    let newer = EntryPayload::Normal(Command(vec![9, 9, 9].into()));
    let cases: [(&str, Change); 5] = [
        ("log entry 0 is missing", Box::new(remove(record::key(0, 0)))),
        ("log entry 1 is missing", Box::new(remove(record::key(1, 0)))),
        ("lacks piece", Box::new(remove(record::key(2, 1)))),
        ("command format 9 is not known", Box::new(put(records(1, 1, newer)))),
        ("the term of log entry 1 is too low", Box::new(put(records(0, 1, EntryPayload::Blank)))),
    ];
    for (expected, change) in cases {
        let refused = opened(0, change).expect_err(expected);
        assert!(refused.contains(expected), "{refused}");
    }
}
