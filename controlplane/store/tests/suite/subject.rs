//! The implementations under test, and short words for transactions.

use bytes::Bytes;
use coracle_store::limits::HistoryLimits;
use coracle_store::{
    Action, Committed, Expect, MemoryStore, Notice, Op, RaftConfig, RaftStore, Revision, Store, StoreError, Txn, Watch,
};
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;

/// Small, so that tests reach its end: about a hundred small changes.
pub const HISTORY: HistoryLimits = HistoryLimits { bytes: 32 * 1024, age: Duration::from_secs(600) };

/// Long enough for any machine, short enough for a test that hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Appends the revision to a value, so that a test sees that it was done, and once.
pub fn stamp(value: &Bytes, revision: Revision) -> Bytes {
    let mut out = value.to_vec();
    out.extend_from_slice(format!("@{}", revision.0).as_bytes());
    out.into()
}

pub async fn memory(history: HistoryLimits, test: impl AsyncFnOnce(Arc<dyn Store>)) {
    test(Arc::new(MemoryStore::with_history(stamp, history))).await;
}

pub async fn raft(history: HistoryLimits, test: impl AsyncFnOnce(Arc<dyn Store>)) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = RaftConfig { history, ..RaftConfig::new(dir.path(), 1, stamp) };
    let store = Arc::new(RaftStore::open(config).await.expect("an empty directory opens"));
    test(store.clone()).await;
    if let Some(store) = Arc::into_inner(store) {
        store.close().await;
    }
}

pub fn op(key: &str, expect: Expect, action: Action) -> Op {
    Op { key: key.into(), expect, action }
}

pub fn put(key: &str, value: &str) -> Op {
    op(key, Expect::Anything, Action::Put(Bytes::copy_from_slice(value.as_bytes())))
}

pub fn delete(key: &str) -> Op {
    op(key, Expect::Anything, Action::Delete)
}

pub fn txn(ops: impl Into<Vec<Op>>) -> Txn {
    Txn { ops: ops.into(), term: None }
}

/// Commits what must succeed.
pub async fn commit(store: &Arc<dyn Store>, ops: impl Into<Vec<Op>>) -> Committed {
    store.commit(txn(ops)).await.expect("nothing refuses it")
}

pub fn keys(store: &Arc<dyn Store>, prefix: &str) -> Vec<String> {
    store.view().range(prefix, None).map(|entry| entry.key.to_string()).collect()
}

/// The next notice that is a change or an error; progress is left out.
pub async fn next(watch: &mut Watch) -> Option<Result<coracle_store::Change, StoreError>> {
    let next = async {
        loop {
            match watch.next().await? {
                Ok(Notice::Progress(_)) => {}
                Ok(Notice::Change(change)) => return Some(Ok(change)),
                Err(error) => return Some(Err(error)),
            }
        }
    };
    tokio::time::timeout(PATIENCE, next).await.expect("the watch says something in time")
}

/// The next change, as text: `+key` created, `~key` changed, `-key` deleted, and the revision.
pub async fn next_text(watch: &mut Watch) -> String {
    let change = next(watch).await.expect("the watch goes on").expect("the watch goes on");
    let kind = match (&change.before, &change.after) {
        (None, Some(_)) => '+',
        (Some(_), Some(_)) => '~',
        (Some(_), None) => '-',
        (None, None) => '?',
    };
    format!("{kind}{}@{}", change.key, change.revision.0)
}
