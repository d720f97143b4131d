//! Transactions, reads, limits, terms.

use crate::subject::{commit, delete, keys, op, put, txn};
use bytes::Bytes;
use coracle_store::limits::{TXN_BYTES, TXN_OPS};
use coracle_store::{Action, Expect, Revision, Store, StoreError, Term, Txn};
use std::sync::Arc;

crate::for_every_store!(
    a_value_is_stamped_once_and_read_back,
    preconditions_decide,
    a_transaction_happens_whole_or_not_at_all,
    what_changes_nothing_takes_no_revision,
    deleting_and_creating_again_starts_anew,
    concurrent_writers_lose_no_increment,
    concurrent_writers_each_get_their_own_revision,
    a_read_after_a_barrier_sees_what_was_acknowledged,
    ranges_follow_prefixes,
    large_values_are_kept_and_too_large_ones_refused,
    writes_bound_to_the_term_follow_it,
    waiting_for_a_revision_ends_when_it_is_there,
    waiting_for_a_revision_that_does_not_come_ends,
);

async fn a_value_is_stamped_once_and_read_back(store: Arc<dyn Store>) {
    assert_eq!(store.view().revision(), Revision(1), "an empty store is at 1");
    let committed = commit(&store, [put("a", "x")]).await;
    let entry = committed.entries[0].clone().expect("a put gives its entry");
    assert_eq!((committed.revision, &entry.value[..]), (Revision(2), &b"x@2"[..]));
    assert_eq!(store.view().get("a"), Some(entry));
    assert_eq!(store.view().get("b"), None);
}

async fn preconditions_decide(store: Arc<dyn Store>) {
    let present = commit(&store, [put("present", "x")]).await.entries[0].clone();
    let cases = [
        ("present", Expect::Anything, true),
        ("present", Expect::Absent, false),
        ("present", Expect::At(Revision(2)), true),
        ("present", Expect::At(Revision(1)), false),
        ("absent", Expect::Anything, true),
        ("absent", Expect::Absent, true),
        ("absent", Expect::At(Revision(2)), false),
    ];
    for (key, expect, holds) in cases {
        let outcome = store.commit(txn([op(key, expect, Action::Check)])).await;
        let actual = if key == "present" { present.clone() } else { None };
        let expected = match holds {
            true => Ok(vec![actual]),
            false => Err(StoreError::Conflict { key: key.into(), actual }),
        };
        assert_eq!(outcome.map(|committed| committed.entries), expected, "{key} {expect:?}");
    }
}

async fn a_transaction_happens_whole_or_not_at_all(store: Arc<dyn Store>) {
    commit(&store, [put("a", "1"), put("b", "1")]).await;
    let stale = op("b", Expect::At(Revision(1)), Action::Delete);
    let refused = store.commit(txn([put("a", "2"), stale, put("c", "2")])).await;
    assert!(matches!(refused, Err(StoreError::Conflict { key, .. }) if &*key == "b"));
    assert_eq!((store.view().revision(), keys(&store, "")), (Revision(2), vec!["a".into(), "b".into()]));
    let right = op("b", Expect::At(Revision(2)), Action::Delete);
    let committed = commit(&store, [put("a", "2"), right, put("c", "2")]).await;
    assert_eq!(committed.revision, Revision(3));
    let modified: Vec<_> =
        store.view().range("", None).map(|entry| (entry.key.to_string(), entry.modified.0)).collect();
    assert_eq!(modified, [("a".to_owned(), 3), ("c".to_owned(), 3)]);
    let twice = store.commit(txn([put("a", "3"), delete("a")])).await;
    assert_eq!(twice, Err(StoreError::WrittenTwice { key: "a".into() }));
}

async fn what_changes_nothing_takes_no_revision(store: Arc<dyn Store>) {
    for ops in [vec![], vec![op("a", Expect::Absent, Action::Check)], vec![delete("a")]] {
        assert_eq!(commit(&store, ops).await.revision, Revision(1));
    }
    assert_eq!(store.view().revision(), Revision(1));
}

async fn deleting_and_creating_again_starts_anew(store: Arc<dyn Store>) {
    commit(&store, [put("a", "1")]).await;
    let deleted = commit(&store, [delete("a")]).await;
    assert_eq!(deleted.entries[0].as_ref().map(|entry| &entry.value[..]), Some(&b"1@2"[..]), "the last entry");
    commit(&store, [put("a", "2")]).await;
    commit(&store, [put("a", "3")]).await;
    let entry = store.view().get("a").expect("it was made again");
    assert_eq!((entry.created, entry.modified), (Revision(4), Revision(5)));
}

async fn concurrent_writers_lose_no_increment(store: Arc<dyn Store>) {
    commit(&store, [put("counter", "0")]).await;
    let writers = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..10 {
                increment(&store).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("a writer does not panic");
    }
    let value = store.view().get("counter").expect("it is there").value;
    assert!(value.starts_with(b"80@"), "{value:?}");
}

/// Reads, adds one, and tries again while somebody else was faster.
async fn increment(store: &Arc<dyn Store>) {
    loop {
        let entry = store.view().get("counter").expect("it is there");
        let text = std::str::from_utf8(&entry.value).expect("a number is text");
        let count: u64 = text.split('@').next().and_then(|count| count.parse().ok()).expect("a number");
        let next = Action::Put((count + 1).to_string().into());
        match store.commit(txn([op("counter", Expect::At(entry.modified), next)])).await {
            Ok(_) => return,
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn concurrent_writers_each_get_their_own_revision(store: Arc<dyn Store>) {
    let writers = (0..64).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut revisions = Vec::new();
            for number in 0..5 {
                let committed = commit(&store, [put(&format!("{writer}/{number}"), "x")]).await;
                let seen = store.view().get(&format!("{writer}/{number}")).expect("acknowledged means visible");
                assert_eq!(seen.modified, committed.revision);
                revisions.push(committed.revision.0);
            }
            assert!(revisions.is_sorted(), "{revisions:?}");
            revisions
        })
    });
    let mut all = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        all.extend(writer.await.expect("a writer does not panic"));
    }
    all.sort_unstable();
    assert_eq!(all, (2..2 + 64 * 5).collect::<Vec<_>>());
}

async fn a_read_after_a_barrier_sees_what_was_acknowledged(store: Arc<dyn Store>) {
    for number in 0..20 {
        let committed = commit(&store, [put("a", &number.to_string())]).await;
        store.read_barrier().await.expect("it leads");
        assert!(store.view().revision() >= committed.revision);
    }
}

async fn ranges_follow_prefixes(store: Arc<dyn Store>) {
    commit(&store, ["p/a", "p/b", "p/bb", "p0", "o", "q", "p"].map(|key| put(key, ""))).await;
    assert_eq!(keys(&store, "p/"), ["p/a", "p/b", "p/bb"]);
    assert_eq!(keys(&store, "p/b"), ["p/b", "p/bb"]);
    assert_eq!(keys(&store, "x"), [""; 0]);
    let view = store.view();
    assert_eq!((view.count("p/"), view.count("p"), view.count("")), (3, 5, 7));
    let after: Vec<_> = view.range("p/", Some("p/a")).map(|entry| entry.key.to_string()).collect();
    assert_eq!(after, ["p/b", "p/bb"]);
}

async fn large_values_are_kept_and_too_large_ones_refused(store: Arc<dyn Store>) {
    let large = |length: usize| op("large", Expect::Anything, Action::Put(Bytes::from(vec![b'x'; length])));
    for length in [3 * 1024 * 1024, 300 * 1024, 0] {
        commit(&store, [large(length)]).await;
        let stored = store.view().get("large").expect("it is there").value;
        assert_eq!(stored.iter().filter(|byte| **byte == b'x').count(), length);
    }
    let refused = store.commit(txn([large(TXN_BYTES)])).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { max: TXN_BYTES, .. })), "{refused:?}");
    let many: Vec<_> = (0..=TXN_OPS).map(|number| put(&number.to_string(), "")).collect();
    let refused = store.commit(txn(many)).await;
    assert_eq!(refused, Err(StoreError::TooManyOps { ops: TXN_OPS + 1, max: TXN_OPS }));
}

async fn writes_bound_to_the_term_follow_it(store: Arc<dyn Store>) {
    let Term(term) = store.leading().expect("it leads");
    for (expected, refused) in [(term, false), (term + 1, true), (term - 1, true)] {
        let bound = Txn { term: Some(Term(expected)), ..txn([put("a", "x")]) };
        let outcome = store.commit(bound).await;
        assert_eq!(outcome == Err(StoreError::Deposed), refused, "{expected}: {outcome:?}");
    }
}

async fn waiting_for_a_revision_ends_when_it_is_there(store: Arc<dyn Store>) {
    assert_eq!(store.wait_for(Revision(1)).await, Ok(()));
    let waiter = tokio::spawn({
        let store = store.clone();
        async move { store.wait_for(Revision(3)).await.map(|()| store.view().revision()) }
    });
    commit(&store, [put("a", "1")]).await;
    commit(&store, [put("a", "2")]).await;
    let seen = waiter.await.expect("it does not panic").expect("the revision comes");
    assert!(seen >= Revision(3));
}

async fn waiting_for_a_revision_that_does_not_come_ends(store: Arc<dyn Store>) {
    let refused = store.wait_for(Revision(9)).await;
    assert_eq!(refused, Err(StoreError::Future { requested: Revision(9), newest: Revision(1) }));
}
