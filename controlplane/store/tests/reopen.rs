//! A store that is closed and opened again, and data directories that must not be opened.

use bytes::Bytes;
use coracle_store::{Action, Expect, Op, OpenError, RaftConfig, RaftStore, Revision, Store, StoreError, Term, Txn};
use futures::StreamExt;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn stamp(value: &Bytes, _: Revision) -> Bytes {
    value.clone()
}

async fn open(dir: &Path) -> Result<RaftStore, OpenError> {
    RaftStore::open(RaftConfig::new(dir, 1, stamp)).await
}

async fn put(store: &RaftStore, key: &str, value: impl Into<Bytes>) -> Revision {
    let op = Op { key: key.into(), expect: Expect::Anything, action: Action::Put(value.into()) };
    store.commit(Txn { ops: vec![op], term: None }).await.expect("nothing refuses it").revision
}

async fn fill(store: &RaftStore, prefix: &str, count: usize) {
    for number in 0..count {
        put(store, &format!("{prefix}/{number:04}"), format!("{number}").repeat(30)).await;
    }
}

type Everything = (Revision, Vec<coracle_store::Entry>);

fn everything(store: &RaftStore) -> Everything {
    let view = store.view();
    (view.revision(), view.range("", None).collect())
}

/// Takes a snapshot and waits until it is in place under its name.
async fn snapshot(store: &RaftStore, dir: &Path) {
    let before = newest_snapshot(dir);
    store.snapshot().await.expect("it runs");
    let deadline = Instant::now() + Duration::from_secs(20);
    while newest_snapshot(dir) == before {
        assert!(Instant::now() < deadline, "no snapshot in time");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn newest_snapshot(dir: &Path) -> Option<PathBuf> {
    let paths =
        fs::read_dir(dir.join("snapshots")).expect("it can be listed").map(|entry| entry.expect("it can").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "snap")).max()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_again_and_revisions_go_on() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = open(dir.path()).await.expect("an empty directory opens");
    assert_eq!(store.leading(), Some(Term(1)));
    fill(&store, "a", 50).await;
    put(&store, "big", vec![7; 2_000_000]).await;
    let before = everything(&store);
    store.close().await;
    let store = open(dir.path()).await.expect("it opens again");
    assert_eq!(everything(&store), before);
    assert_eq!(store.leading(), Some(Term(2)), "every start is a term of its own");
    assert_eq!(put(&store, "next", "x").await.0, before.0.0 + 1);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_the_log_after_it_make_the_whole() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = open(dir.path()).await.expect("an empty directory opens");
    for round in 0..4 {
        fill(&store, &format!("{round}"), 30).await;
        snapshot(&store, dir.path()).await;
    }
    fill(&store, "after", 10).await;
    let before = everything(&store);
    store.close().await;
    let store = open(dir.path()).await.expect("it opens again");
    assert_eq!(everything(&store), before);
    let names = fs::read_dir(dir.path().join("snapshots")).expect("it can be listed").count();
    assert_eq!(names, 1, "only the newest is kept");
    let forgotten = store.watch("", Revision(3)).err();
    assert!(matches!(forgotten, Some(StoreError::Compacted { .. })), "{forgotten:?}");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_grows_becomes_a_snapshot_by_itself() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = open(dir.path()).await.expect("an empty directory opens");
    for number in 0..12 {
        put(&store, &format!("{}", number % 3), vec![b'x'; 1024 * 1024]).await;
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while newest_snapshot(dir.path()).is_none() {
        assert!(Instant::now() < deadline, "no snapshot in time");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let before = everything(&store);
    store.close().await;
    let store = open(dir.path()).await.expect("it opens again");
    assert_eq!(everything(&store), before);
    store.close().await;
    let outside = fs::read_dir(dir.path().join("log/blobs")).expect("it can be listed").count();
    assert_eq!(outside, 0, "sled never syncs what it writes into files of its own, so nothing may go there");
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_ends_watches_and_refuses_writes() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = open(dir.path()).await.expect("an empty directory opens");
    let mut watch = store.watch("", Revision(1)).expect("revision 1 is kept");
    store.close().await;
    assert!(matches!(watch.next().await, Some(Err(StoreError::Unavailable(_)))));
    assert!(watch.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_only_dropped_lets_go_of_its_directory() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = open(dir.path()).await.expect("an empty directory opens");
    put(&store, "a", "x").await;
    let before = everything(&store);
    drop(store);
    let deadline = Instant::now() + Duration::from_secs(20);
    let store = loop {
        match open(dir.path()).await {
            Ok(store) => break store,
            Err(OpenError::InUse { .. }) if Instant::now() < deadline => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(everything(&store), before);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = open(dir.path()).await.expect("an empty directory opens");
    let refused = open(dir.path()).await.map(|_| ());
    assert!(matches!(refused, Err(OpenError::InUse { .. })), "{refused:?}");
    store.close().await;
    open(dir.path()).await.expect("it is free again").close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_member_s_data_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    open(dir.path()).await.expect("an empty directory opens").close().await;
    let refused = RaftStore::open(RaftConfig::new(dir.path(), 2, stamp)).await.map(|_| ());
    assert!(matches!(refused, Err(OpenError::Start(_))), "{refused:?}");
}

/// A closed store with a snapshot and a log after it, and what it held.
async fn closed(dir: &Path) -> Everything {
    let store = open(dir).await.expect("an empty directory opens");
    fill(&store, "a", 60).await;
    snapshot(&store, dir).await;
    fill(&store, "b", 60).await;
    let content = everything(&store);
    store.close().await;
    content
}

/// Opening must be refused as damaged, must leave every file as it is, and must work once the damage is undone.
async fn refused_as_damaged(dir: &Path, what: &str, damage: impl FnOnce(), undo: impl FnOnce(), content: &Everything) {
    damage();
    let refused = open(dir).await.map(|_| ());
    assert!(matches!(refused, Err(OpenError::Damaged { .. })), "{what}: {refused:?}");
    undo();
    let store = open(dir).await.unwrap_or_else(|error| panic!("{what}: nothing was deleted, but {error}"));
    assert_eq!(&everything(&store), content, "{what}");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_files_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let content = closed(dir.path()).await;
    let snapshot = newest_snapshot(dir.path()).expect("one was taken");
    for file in [snapshot.clone(), dir.path().join("mark"), dir.path().join("format")] {
        let whole = fs::read(&file).expect("it can be read");
        let flip = |at: usize| {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            fs::write(&file, damaged).expect("it can be written");
        };
        let undo = || fs::write(&file, &whole).expect("it can be written");
        // Reopening moves the mark, so it is only damaged, not put back.
        if file.ends_with("mark") {
            flip(3);
            let refused = open(dir.path()).await.map(|_| ());
            assert!(matches!(refused, Err(OpenError::Damaged { .. })), "{refused:?}");
            undo();
            continue;
        }
        refused_as_damaged(dir.path(), "a flipped byte", || flip(whole.len() / 2), undo, &content).await;
        refused_as_damaged(dir.path(), "a flipped last byte", || flip(whole.len() - 1), undo, &content).await;
    }
    let aside = dir.path().join("aside");
    let hide = || fs::rename(&snapshot, &aside).expect("it can be renamed");
    let show = || fs::rename(&aside, &snapshot).expect("it can be renamed");
    refused_as_damaged(dir.path(), "a missing snapshot", hide, show, &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_damaged_anywhere_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let content = closed(dir.path()).await;
    let copy = tempfile::tempdir().expect("a temporary directory");
    let db = fs::read(dir.path().join("log/db")).expect("it can be read");
    // Where the last values are in sled's file: damage there is damage of an acknowledged record.
    let value = "59".repeat(30);
    let places: Vec<_> = (0..db.len() - value.len()).filter(|at| db[*at..].starts_with(value.as_bytes())).collect();
    assert!(!places.is_empty(), "the log holds what was written");
    for (round, at) in places.into_iter().enumerate() {
        let target = copy.path().join(round.to_string());
        copy_dir(dir.path(), &target);
        let file = fs::File::options().write(true).open(target.join("log/db")).expect("it can be opened");
        file.write_all_at(b"damage", at as u64 + 3).expect("it can be written");
        match open(&target).await {
            Err(OpenError::Damaged { .. }) => {}
            Err(error) => panic!("byte {at}: {error}"),
            // A place that sled has since rewritten elsewhere.
            Ok(store) => {
                assert_eq!(everything(&store), content, "byte {at}: something else than what was written");
                store.close().await;
            }
        }
    }
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("it can be made");
    for entry in fs::read_dir(from).expect("it can be listed") {
        let entry = entry.expect("it can be listed");
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("it can be copied");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_cut_short_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    closed(dir.path()).await;
    let db = fs::File::options().write(true).open(dir.path().join("log/db")).expect("it can be opened");
    let length = db.metadata().expect("it has a length").len();
    db.set_len(length - 300).expect("it can be cut");
    let refused = open(dir.path()).await.map(|_| ());
    assert!(matches!(refused, Err(OpenError::Damaged { .. })), "{refused:?}");
}
