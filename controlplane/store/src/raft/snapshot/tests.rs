use super::*;
use crate::raft::log_id;
use std::os::unix::fs::FileExt;

fn content(entries: u64, index: u64) -> Content {
    let mut map = Map::new();
    let mut proposals = Proposals::default();
    for number in 0..entries {
        let key: std::sync::Arc<str> = format!("key/{number:05}").into();
        let value = vec![b'x'; number as usize % 1000].into();
        let revision = Revision(number + 2);
        map.insert(key.clone(), Entry { key, value, created: revision, modified: revision });
        proposals.record(ProposalId { origin: 7, number }, revision);
    }
    let image = Image { revision: Revision(entries + 1), map, proposals };
    Content { meta: meta(Some(log_id(3, index)), Membership::default()), image }
}

#[test]
fn a_snapshot_is_read_back_and_replaces_the_one_before() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    write(dir.path(), &content(10, 5)).expect("it can be written");
    let written = content(5000, 70);
    let (_, length) = write(dir.path(), &written).expect("it can be written");
    let (path, file) = newest(dir.path()).expect("it can be listed").expect("one is there");
    assert!(path.ends_with("00000000000000000003-00000000000000000070.snap"));
    let (read, read_length) = file.read().expect("it is whole");
    assert_eq!((read.meta, read_length), (written.meta, length));
    assert_eq!((read.image.revision, &read.image.map), (written.image.revision, &written.image.map));
    assert!(read.image.proposals.iter().eq(written.image.proposals.iter()));
    assert_eq!(fs::read_dir(dir.path()).expect("it can be listed").count(), 1);
}

#[test]
fn every_damaged_byte_is_noticed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    write(dir.path(), &content(50, 5)).expect("it can be written");
    let (path, _) = newest(dir.path()).expect("it can be listed").expect("one is there");
    let whole = fs::read(&path).expect("it can be read");
    let file = File::options().write(true).open(&path).expect("it can be opened");
    for at in 0..whole.len() {
        file.write_all_at(&[whole[at] ^ 0x40], at as u64).expect("it can be written");
        let read = SnapshotFile(File::open(&path).expect("it can be opened")).read();
        assert_eq!(read.err().map(|error| error.kind()), Some(io::ErrorKind::InvalidData), "byte {at}");
        file.write_all_at(&whole[at..=at], at as u64).expect("it can be written");
    }
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).expect("it can be written");
        let read = SnapshotFile(File::open(&path).expect("it can be opened")).read();
        assert!(read.is_err(), "cut to {length}");
    }
}

#[test]
fn what_an_interrupted_write_left_is_removed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("00000000000000000009-00000000000000000009.new"), "half").expect("it can be written");
    assert!(newest(dir.path()).expect("it can be listed").is_none());
    remove_leftovers(dir.path()).expect("it can be listed");
    assert_eq!(fs::read_dir(dir.path()).expect("it can be listed").count(), 0);
}
