use super::super::Replica;
use crate::limits::{CHANGE_OVERHEAD, HistoryLimits, PROGRESS_INTERVAL, WATCH_BATCH};
use crate::state::{Millis, Proposal, ProposalId};
use crate::{Action, Expect, Notice, Op, Revision, StoreError, Term, Txn};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use std::sync::Arc;
use std::time::Duration;

fn replica(limits: HistoryLimits) -> Arc<Replica> {
    Arc::new(Replica::new(|value, _| value.clone(), limits))
}

fn put(replica: &Replica, key: &str) -> Revision {
    let op = Op { key: key.into(), expect: Expect::Anything, action: Action::Put(Bytes::new()) };
    let number = read_revision(replica).0;
    let proposal = Proposal { id: ProposalId { origin: 0, number }, txn: Txn { ops: vec![op], term: None } };
    replica.apply(&proposal, Term(1), Millis(0)).expect("nothing refuses it").revision
}

fn read_revision(replica: &Replica) -> Revision {
    replica.view().revision()
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_learns_how_far_the_store_has_come() {
    let replica = replica(HistoryLimits::default());
    let mut watch = replica.watch("a/", Revision(1)).expect("revision 1 is kept");
    put(&replica, "b/1");
    let newest = put(&replica, "b/2");
    let start = tokio::time::Instant::now();
    assert_eq!(watch.next().await, Some(Ok(Notice::Progress(newest))));
    assert!(start.elapsed() >= PROGRESS_INTERVAL);
    let nothing_new = tokio::time::timeout(4 * PROGRESS_INTERVAL, watch.next()).await;
    assert!(nothing_new.is_err(), "a revision is said once: {nothing_new:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_watcher_lags_alone() {
    let limits = HistoryLimits { bytes: 10 * (CHANGE_OVERHEAD + 3), age: Duration::from_secs(60) };
    let replica = replica(limits);
    let mut slow = replica.watch("a/", Revision(1)).expect("revision 1 is kept");
    let mut fast = replica.watch("a/", Revision(1)).expect("revision 1 is kept");
    let mut quiet = replica.watch("b/", Revision(1)).expect("revision 1 is kept");
    for _ in 0..50 {
        let revision = put(&replica, "a/1");
        let notice = fast.next().await;
        assert!(matches!(notice, Some(Ok(Notice::Change(change))) if change.revision == revision));
    }
    assert_eq!(slow.next().await, Some(Err(StoreError::Lagged)));
    assert_eq!(slow.next().await, None);
    let revision = put(&replica, "b/1");
    let notice = quiet.next().await;
    assert!(matches!(notice, Some(Ok(Notice::Change(change))) if change.revision == revision), "quiet is not slow");
}

#[tokio::test]
async fn a_long_history_comes_in_order_over_many_batches() {
    let replica = replica(HistoryLimits::default());
    let count = 3 * WATCH_BATCH + 5;
    for number in 0..count {
        put(&replica, if number % 3 == 0 { "b/1" } else { "a/1" });
    }
    let mut watch = replica.watch("a/", Revision(1)).expect("revision 1 is kept");
    let mut seen = Vec::new();
    while let Some(Some(Ok(Notice::Change(change)))) = watch.next().now_or_never() {
        seen.push(change.revision.0);
    }
    let expected: Vec<_> = (0..count as u64).filter(|number| number % 3 != 0).map(|number| number + 2).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn stopping_ends_every_watch_with_the_reason() {
    let replica = replica(HistoryLimits::default());
    let mut watch = replica.watch("", Revision(1)).expect("revision 1 is kept");
    let why = StoreError::Unavailable("the disk is full".into());
    replica.stop(why.clone());
    assert_eq!(watch.next().await, Some(Err(why.clone())));
    assert_eq!(watch.next().await, None);
    assert_eq!(replica.watch("", Revision(1)).err(), Some(why));
}

#[tokio::test]
async fn installing_a_snapshot_ends_watches_as_too_old() {
    let replica = replica(HistoryLimits::default());
    let mut watch = replica.watch("", Revision(1)).expect("revision 1 is kept");
    let other = self::replica(HistoryLimits::default());
    for _ in 0..5 {
        put(&other, "a");
    }
    replica.install(other.image());
    assert_eq!(watch.next().await, Some(Err(StoreError::Compacted { requested: Revision(1), oldest: Revision(6) })));
    assert_eq!(read_revision(&replica), Revision(6));
}

#[test]
fn a_dropped_watch_leaves_nothing_behind() {
    let replica = replica(HistoryLimits::default());
    let watches: Vec<_> = ["a", "a", "b", ""].map(|prefix| replica.watch(prefix, Revision(1))).into();
    assert!(!super::read(&replica.inner).hub.is_empty());
    drop(watches);
    assert!(super::read(&replica.inner).hub.is_empty());
}
