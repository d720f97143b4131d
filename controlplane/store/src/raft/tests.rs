use super::dir::Dir;
use super::log::{Acknowledge, Log, LogFiles};
use super::machine::Machine;
use super::waiting::Waiting;
use super::{Entry, Types, log_id};
use crate::limits::{HistoryLimits, TAIL_BYTES};
use crate::raft::command::Command;
use crate::replica::Replica;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{EntryPayload, StorageError};
use std::path::Path;
use std::sync::Arc;

fn start(path: &Path) -> (Log, Dir) {
    let dir = Dir::open(path).expect("an empty directory");
    let files = LogFiles::open(&dir.log(), &dir.mark()).expect("an empty log");
    let (log, _) = files.start(Acknowledge::AfterSync, |error| panic!("{error}"), ()).expect("a thread");
    (log, dir)
}

struct Builder;

impl StoreBuilder<Types, Log, Machine, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<(tempfile::TempDir, Log, Machine), StorageError<Types>> {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let (log, dir) = start(temporary.path());
        let replica = Arc::new(Replica::new(|value, _| value.clone(), HistoryLimits::default()));
        Ok((temporary, log, Machine::new(replica, Arc::new(Waiting::default()), dir.snapshots())))
    }
}

/// What openraft itself asks of a log and a state machine.
#[test]
fn openraft_s_own_suite_passes() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(Suite::test_all(Builder)).expect("the suite passes");
}

fn entry(term: u64, index: u64, length: usize) -> Entry {
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(Command(vec![index as u8; length].into())) }
}

async fn append(log: &mut Log, entries: Vec<Entry>) {
    let (sender, flushed) = <Types as openraft::type_config::TypeConfigExt>::oneshot();
    log.append(entries, IOFlushed::signal(sender)).await.expect("the log works");
    flushed.await.expect("it is told").expect("the disk works");
}

async fn read(log: &mut Log, from: u64, to: u64) -> Vec<String> {
    let entries = log.try_get_log_entries(from..to).await.expect("the log works");
    entries.iter().map(|entry| format!("{}:{:?}", entry.log_id, entry.payload)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_left_memory_is_read_from_disk_and_is_the_same() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let (mut log, _dir) = start(temporary.path());
    let entries: Vec<_> = (0..30).map(|index| entry(1, index, TAIL_BYTES / 10)).collect();
    let expected: Vec<_> = entries.iter().map(|entry| format!("{}:{:?}", entry.log_id, entry.payload)).collect();
    for entry in entries {
        append(&mut log, vec![entry]).await;
    }
    for (from, to) in [(0, 30), (0, 3), (5, 29), (28, 30), (29, 99)] {
        assert_eq!(read(&mut log, from, to).await, expected[from as usize..to.min(30) as usize], "{from}..{to}");
    }
    log.purge(log_id(1, 9)).await.expect("the log works");
    assert_eq!(read(&mut log, 0, 30).await, expected[10..]);
    log.truncate_after(Some(log_id(1, 19))).await.expect("the log works");
    assert_eq!(read(&mut log, 0, 30).await, expected[10..20]);
    append(&mut log, vec![entry(2, 20, 100)]).await;
    assert_eq!(read(&mut log, 19, 30).await.len(), 2);
}
