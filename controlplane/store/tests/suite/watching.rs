//! Watches: every change under the prefix, in order, each once, or an error.

use crate::subject::{commit, delete, next, next_text, put};
use coracle_store::{Revision, Store, StoreError};
use futures::FutureExt;
use std::sync::Arc;

crate::for_every_store!(
    a_watch_gives_what_follows_its_revision,
    a_watch_is_deaf_outside_its_prefix,
    a_transaction_is_seen_whole_at_one_revision,
    watchers_and_writers_at_once_see_everything_once,
    a_watch_from_a_forgotten_revision_is_refused,
    a_watch_from_the_future_is_refused,
    a_watcher_that_sleeps_too_long_lags_and_nobody_else,
);

async fn a_watch_gives_what_follows_its_revision(store: Arc<dyn Store>) {
    commit(&store, [put("a", "1")]).await;
    commit(&store, [put("b", "1")]).await;
    let mut late = store.watch("", Revision(2)).expect("revision 2 is kept");
    let mut early = store.watch("", Revision(1)).expect("revision 1 is kept");
    commit(&store, [put("a", "2")]).await;
    commit(&store, [delete("b")]).await;
    for expected in ["+b@3", "~a@4", "-b@5"] {
        assert_eq!(next_text(&mut late).await, expected);
    }
    for expected in ["+a@2", "+b@3", "~a@4", "-b@5"] {
        assert_eq!(next_text(&mut early).await, expected);
    }
    assert!(next(&mut early).now_or_never().is_none(), "nothing more happened");
    let last = {
        commit(&store, [put("c", "1")]).await;
        next(&mut late).await.expect("it goes on").expect("it goes on")
    };
    assert_eq!((last.before, last.after.clone()), (None, store.view().get("c")));
    assert_eq!(last.after.map(|entry| entry.value), Some("1@6".into()), "as it is stored");
}

async fn a_watch_is_deaf_outside_its_prefix(store: Arc<dyn Store>) {
    let mut pods = store.watch("pods/", Revision(1)).expect("revision 1 is kept");
    let mut one = store.watch("pods/a", Revision(1)).expect("revision 1 is kept");
    for key in ["pods", "nodes/a", "pods/b", "podsx/a", "pods/a"] {
        commit(&store, [put(key, "x")]).await;
    }
    assert_eq!(next_text(&mut pods).await, "+pods/b@4");
    assert_eq!(next_text(&mut pods).await, "+pods/a@6");
    assert_eq!(next_text(&mut one).await, "+pods/a@6");
}

async fn a_transaction_is_seen_whole_at_one_revision(store: Arc<dyn Store>) {
    commit(&store, [put("b", "1")]).await;
    let mut watch = store.watch("", Revision(2)).expect("revision 2 is kept");
    commit(&store, [put("a", "1"), delete("b"), delete("nothing"), put("c", "1")]).await;
    for expected in ["+a@3", "-b@3", "+c@3"] {
        assert_eq!(next_text(&mut watch).await, expected);
    }
    assert!(next(&mut watch).now_or_never().is_none(), "deleting nothing is no change");
}

async fn watchers_and_writers_at_once_see_everything_once(store: Arc<dyn Store>) {
    const WRITERS: u64 = 4;
    const EACH: u64 = 15;
    let watchers = (0..5).map(|_| {
        let mut watch = store.watch("", Revision(1)).expect("revision 1 is kept");
        tokio::spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..WRITERS * EACH {
                let change = next(&mut watch).await.expect("it goes on").expect("it goes on");
                let order =
                    (change.before.map_or(1, |entry| entry.modified.0), change.after.map(|entry| entry.modified));
                assert!(order.0 < change.revision.0 && order.1 == Some(change.revision));
                seen.push(change.revision.0);
            }
            seen
        })
    });
    let watchers: Vec<_> = watchers.collect();
    let writers = (0..WRITERS).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..EACH {
                commit(&store, [put(&format!("{}", (writer + number) % 7), "x")]).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("a writer does not panic");
    }
    let all: Vec<_> = (2..2 + WRITERS * EACH).collect();
    for watcher in watchers {
        assert_eq!(watcher.await.expect("a watcher does not panic"), all);
    }
}

/// More than the history of the tests holds.
async fn overrun(store: &Arc<dyn Store>) {
    for number in 0..200 {
        commit(store, [put("busy", &number.to_string())]).await;
    }
}

async fn a_watch_from_a_forgotten_revision_is_refused(store: Arc<dyn Store>) {
    overrun(&store).await;
    let Some(StoreError::Compacted { requested, oldest }) = store.watch("", Revision(1)).err() else {
        panic!("revision 1 must be forgotten");
    };
    assert_eq!(requested, Revision(1));
    let mut watch = store.watch("", oldest).expect("the oldest is kept");
    assert_eq!(next_text(&mut watch).await, format!("~busy@{}", oldest.0 + 1));
    assert!(store.watch("", Revision(oldest.0 - 1)).is_err(), "and nothing before it");
}

async fn a_watch_from_the_future_is_refused(store: Arc<dyn Store>) {
    let refused = store.watch("", Revision(2)).err();
    assert_eq!(refused, Some(StoreError::Future { requested: Revision(2), newest: Revision(1) }));
}

async fn a_watcher_that_sleeps_too_long_lags_and_nobody_else(store: Arc<dyn Store>) {
    let mut slow = store.watch("busy", Revision(1)).expect("revision 1 is kept");
    let mut quiet = store.watch("quiet", Revision(1)).expect("revision 1 is kept");
    overrun(&store).await;
    assert_eq!(next(&mut slow).await, Some(Err(StoreError::Lagged)));
    assert_eq!(next(&mut slow).await, None, "an error ends a watch");
    commit(&store, [put("quiet", "x")]).await;
    assert_eq!(next_text(&mut quiet).await, "+quiet@202");
}
