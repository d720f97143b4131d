//! Power cuts at random moments, with writes in flight, on a disk that forgets what was not synced.

use crate::count;
use crate::disk::{Disk, Loss};
use crate::kills::check;
use crate::ledger::Ledger;
use crate::mount::{Mounted, Shared};
use crate::process::Worker;
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
