//! Durable writes per second, by one client and by many, beside what the disk itself can do.
//!
//! `cargo run --release -p coracle-store --example bench [DIRECTORY]`; the directory decides which disk.

use coracle_store::{Action, Expect, Op, RaftConfig, RaftStore, Store, Txn};
use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SECONDS: u64 = 2;
/// About a small object of Kubernetes.
const VALUE_BYTES: usize = 1000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    let dir = tempfile::tempdir_in(parent)?;
    println!("{:>12.0} raw writes with fdatasync per second", raw(&dir.path().join("raw"))?);
    let start = Instant::now();
    let config = RaftConfig::new(dir.path().join("store"), 1, |value, _| value.clone());
    let store = Arc::new(RaftStore::open(config).await?);
    println!("{:>12.1} ms to open an empty store", start.elapsed().as_secs_f64() * 1000.0);
    for clients in [1, 8, 64] {
        println!("{:>12.0} writes per second by {clients} clients", write(&store, clients).await?);
    }
    let start = Instant::now();
    for _ in 0..1000 {
        store.read_barrier().await?;
    }
    println!("{:>12.3} ms for a read barrier", start.elapsed().as_secs_f64());
    Arc::into_inner(store).ok_or("nobody else has the store")?.close().await;
    let start = Instant::now();
    let config = RaftConfig::new(dir.path().join("store"), 1, |value, _| value.clone());
    RaftStore::open(config).await?.close().await;
    println!("{:>12.1} ms to open and close it again", start.elapsed().as_secs_f64() * 1000.0);
    Ok(())
}

/// What the disk does when each write is synced.
fn raw(path: &Path) -> Result<f64, Box<dyn Error>> {
    let file = File::create(path)?;
    let start = Instant::now();
    let mut writes = 0;
    while start.elapsed() < Duration::from_secs(SECONDS) {
        file.write_all_at(&[7; VALUE_BYTES], writes * VALUE_BYTES as u64)?;
        file.sync_data()?;
        writes += 1;
    }
    Ok(writes as f64 / start.elapsed().as_secs_f64())
}

async fn write(store: &Arc<RaftStore>, clients: usize) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    let tasks = (0..clients).map(|client| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut writes = 0;
            while start.elapsed() < Duration::from_secs(SECONDS) {
                let key = format!("{client}/{}", writes % 50).into();
                let op = Op { key, expect: Expect::Anything, action: Action::Put(vec![7; VALUE_BYTES].into()) };
                store.commit(Txn { ops: vec![op], term: None }).await?;
                writes += 1;
            }
            Ok::<_, coracle_store::StoreError>(writes)
        })
    });
    let mut writes = 0;
    for task in tasks.collect::<Vec<_>>() {
        writes += task.await??;
    }
    Ok(f64::from(writes) / start.elapsed().as_secs_f64())
}
