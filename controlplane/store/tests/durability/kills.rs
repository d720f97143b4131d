//! `kill -9` at random moments, with writes in flight.

use crate::count;
use crate::ledger::Ledger;
use crate::process::Worker;
use crate::worker::config;
use coracle_store::{RaftStore, Store};
use rand::Rng;
use std::path::Path;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_by_kills() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut ledger = Ledger::default();
    let kills = count("CORACLE_KILLS", 10);
    for round in 0..kills {
        let worker = Worker::start(dir.path(), false);
        // Some are killed while they open their store.
        let moment = Duration::from_micros(rand::rng().random_range(0..200_000));
        if round % 4 != 3 {
            assert!(worker.wait_open(), "round {round}: the worker was refused its store");
        }
        std::thread::sleep(moment);
        let said = worker.kill();
        assert_eq!(said.refused, None, "round {round}");
        ledger.add(&said.acks);
        let checked = check(dir.path(), &mut ledger).await;
        assert_eq!(checked, Ok(()), "round {round}, killed after {moment:?}");
    }
    assert!(ledger.acknowledged > kills, "writes were in flight");
    println!("{kills} kills, {} acknowledged writes", ledger.acknowledged);
}

pub async fn check(dir: &Path, ledger: &mut Ledger) -> Result<(), String> {
    let store = RaftStore::open(config(dir)).await.map_err(|error| error.to_string())?;
    let checked = ledger.check(&*store.view());
    store.close().await;
    checked
}
