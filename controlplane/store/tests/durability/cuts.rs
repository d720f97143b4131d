//! Power cuts at random moments, with writes in flight, on a disk that forgets what was not synced.

use crate::count;
use crate::disk::{Disk, Loss};
use crate::kills::check;
use crate::ledger::Ledger;
use crate::mount::{Mounted, Shared};
use crate::process::Worker;
use crate::worker::config;
use coracle_store::{Action, Expect, Op, RaftStore, Store, StoreError, Txn};
use futures::StreamExt;
use rand::Rng;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Runs until something is lost or the cuts are through; says what was lost.
async fn cuts(count: usize, planted: bool, at: &Path) -> Result<Ledger, String> {
    let disk = Shared(Arc::new(Mutex::new(Disk::new(rand::rng().random()))));
    let dir = at.join("data");
    let mut ledger = Ledger::default();
    for round in 0..count {
        let loss = if round % 2 == 0 { Loss::All } else { Loss::Some };
        let moment = Duration::from_micros(rand::rng().random_range(0..200_000));
        let told = |what: String| format!("round {round}, cut after {moment:?}, losing {loss:?}: {what}");
        let mounted = Mounted::at(at, &disk).expect("the disk can be mounted");
        if round % 5 == 2 {
            // What a killed process wrote is not durable because the next one can read it.
            let killed = Worker::start(&dir, planted);
            killed.wait_open();
            std::thread::sleep(moment);
            ledger.add(&killed.kill().acks);
        }
        let worker = Worker::start(&dir, planted);
        if round % 4 != 3 && !worker.wait_open() {
            let said = worker.kill();
            return Err(told(format!("the store does not open: {:?}", said.refused)));
        }
        std::thread::sleep(moment);
        disk.lock().cut();
        let said = worker.kill();
        drop(mounted);
        // A cut while it opens is an error to it; the next start has to find everything.
        ledger.add(&said.acks);
        disk.lock().restore(loss);
        let mounted = Mounted::at(at, &disk).expect("the disk can be mounted");
        check(&dir, &mut ledger).await.map_err(told)?;
        drop(mounted);
    }
    Ok(ledger)
}

/// Where the disk can be mounted; `None`, said in one line, where it cannot be.
fn place() -> Option<tempfile::TempDir> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let disk = Shared(Arc::new(Mutex::new(Disk::new(0))));
    match Mounted::at(dir.path(), &disk) {
        Ok(mounted) => {
            drop(mounted);
            Some(dir)
        }
        Err(error) if std::env::var_os("CI").is_some() => panic!("cannot mount the forgetful disk: {error}"),
        Err(error) => {
            println!("skipped: the forgetful disk needs root and /dev/fuse: {error}");
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_by_power_cuts() {
    let Some(dir) = place() else { return };
    let number = count("CORACLE_POWER_CUTS", 10);
    let ledger = cuts(number, false, dir.path()).await.unwrap_or_else(|lost| panic!("{lost}"));
    assert!(ledger.acknowledged > number, "writes were in flight");
    println!("{number} power cuts, {} acknowledged writes", ledger.acknowledged);
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledging_before_the_sync_is_caught() {
    let Some(dir) = place() else { return };
    let Err(lost) = cuts(40, true, dir.path()).await else { panic!("the planted bug was not noticed") };
    println!("noticed: {lost}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_disk_fails_stops_serving_and_says_why() {
    let Some(place) = place() else { return };
    let disk = Shared(Arc::new(Mutex::new(Disk::new(0))));
    let mounted = Mounted::at(place.path(), &disk).expect("the disk can be mounted");
    let dir = place.path().join("data");
    let store = RaftStore::open(config(&dir)).await.expect("an empty directory opens");
    let put = |value: &'static str| {
        let op = Op { key: "a".into(), expect: Expect::Anything, action: Action::Put(value.into()) };
        store.commit(Txn { ops: vec![op], term: None })
    };
    let first = put("kept").await.expect("the disk works");
    let mut watch = store.watch("", first.revision).expect("it is kept");
    disk.lock().cut();
    let failed = put("lost").await;
    assert!(matches!(&failed, Err(StoreError::Unavailable(why)) if why.contains("cannot be written")), "{failed:?}");
    assert!(matches!(watch.next().await, Some(Err(StoreError::Unavailable(_)))), "watches end");
    assert_eq!(store.leading(), None);
    for refused in [put("lost").await.map(|_| ()), store.read_barrier().await] {
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    }
    let kept = |store: &RaftStore| store.view().get("a").map(|entry| entry.value);
    assert_eq!(kept(&store), Some("kept".into()), "what was never durable was never shown");
    store.close().await;
    disk.lock().restore(Loss::All);
    drop(mounted);
    let mounted = Mounted::at(place.path(), &disk).expect("the disk can be mounted");
    let store = RaftStore::open(config(&dir)).await.expect("it opens again");
    assert_eq!(kept(&store), Some("kept".into()));
    store.close().await;
    drop(mounted);
}
