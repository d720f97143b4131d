//! Earlier revisions, for whoever pages through one.

use crate::subject::{commit, delete, put};
use coracle_store::{Revision, Store, StoreError, View};
use std::sync::Arc;

crate::for_every_store!(a_view_never_changes, an_earlier_revision_is_as_it_was, a_page_goes_on_where_it_began);

fn shown(view: &dyn View) -> Vec<String> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    view.range("", None).map(|entry| format!("{}={}", entry.key, text(&entry.value))).collect()
}

async fn a_view_never_changes(store: Arc<dyn Store>) {
    commit(&store, [put("a", "1")]).await;
    let view = store.view();
    commit(&store, [put("a", "2"), put("b", "2")]).await;
    commit(&store, [delete("a")]).await;
    assert_eq!((view.revision(), shown(&*view)), (Revision(2), vec!["a=1@2".to_owned()]));
}

async fn an_earlier_revision_is_as_it_was(store: Arc<dyn Store>) {
    let mut expected = vec![shown(&*store.view())];
    for number in 0..30 {
        match number % 4 {
            3 => commit(&store, [delete("a"), put("d", "x")]).await,
            step => commit(&store, [put("a", "x"), put(["a0", "b", "c"][step], "x")]).await,
        };
        expected.push(shown(&*store.view()));
    }
    // Twice, for the second time may take another way.
    for _ in 0..2 {
        for (revision, expected) in (1..).zip(&expected) {
            let view = store.view_at(Revision(revision)).expect("it is kept");
            assert_eq!((view.revision(), &shown(&*view)), (Revision(revision), expected));
        }
    }
    let future = store.view_at(Revision(32)).map(|_| ()).err();
    assert_eq!(future, Some(StoreError::Future { requested: Revision(32), newest: Revision(31) }));
}

async fn a_page_goes_on_where_it_began(store: Arc<dyn Store>) {
    commit(&store, (0..10).map(|number| put(&format!("k{number}"), "x")).collect::<Vec<_>>()).await;
    let revision = store.view().revision();
    let mut after: Option<String> = None;
    let mut seen = Vec::new();
    loop {
        let view = store.view_at(revision).expect("it is kept");
        let page: Vec<_> = view.range("k", after.as_deref()).take(3).map(|entry| entry.key.to_string()).collect();
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        seen.extend(page);
        // Meanwhile others write before and behind the page.
        commit(&store, [delete("k0"), delete("k9"), put(&format!("k5{}", seen.len()), "x")]).await;
    }
    assert_eq!(seen, (0..10).map(|number| format!("k{number}")).collect::<Vec<_>>());
    for number in 0..200 {
        commit(&store, [put("busy", &number.to_string())]).await;
    }
    let forgotten = store.view_at(revision).map(|_| ()).err();
    assert!(matches!(forgotten, Some(StoreError::Compacted { .. })), "{forgotten:?}");
}
