//! The process that is killed: several tasks write at once, and it prints what was acknowledged.
//!
//! Task `t` writes its `n`th value to `w/t/n` and to `last/t`, and removes `w/t/(n - WINDOW)`, all in one transaction
//! with preconditions. So the state tells exactly which writes happened, and each of them takes one revision.

use crate::process::{DIR, PLANTED};
use bytes::Bytes;
use coracle_store::{Acknowledge, Action, Entry, Expect, Op, RaftConfig, RaftStore, Revision, Store, Txn};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub const TASKS: usize = 8;
/// How many values of each task are kept.
pub const WINDOW: u64 = 20;

pub fn value_key(task: usize, number: u64) -> String {
    format!("w/{task}/{number:08}")
}

pub fn last_key(task: usize) -> String {
    format!("last/{task}")
}

/// Small values, some larger than a page of sled, some larger than one of its segments.
pub fn value(number: u64) -> Bytes {
    let length = match number {
        _ if number % 101 == 100 => 600_000,
        _ if number % 17 == 16 => 40_000,
        _ => 200,
    };
    let mut value = format!("{number} ").into_bytes();
    value.resize(length, b'a' + (number % 26) as u8);
    value.into()
}

pub fn number(entry: &Entry) -> u64 {
    let text = entry.value.split(|byte| *byte == b' ').next().and_then(|text| std::str::from_utf8(text).ok());
    text.and_then(|text| text.parse().ok()).expect("every value begins with its number")
}

/// The stamp keeps values as they are: what is compared later is what was proposed.
pub fn config(dir: &Path) -> RaftConfig {
    RaftConfig::new(dir, 1, |value, _| value.clone())
}

#[test]
#[ignore = "this is the process that the other tests start and kill"]
fn run() {
    let dir = std::env::var_os(DIR).expect("started by the other tests");
    let acknowledge = match std::env::var_os(PLANTED) {
        Some(_) => Acknowledge::BeforeSync,
        None => Acknowledge::AfterSync,
    };
    let config = RaftConfig { acknowledge, ..config(Path::new(&dir)) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(work(config));
}

async fn work(config: RaftConfig) {
    let store = match RaftStore::open(config).await {
        Ok(store) => Arc::new(store),
        Err(error) => return say(&format!("refused {error}")),
    };
    say("open");
    let tasks = (0..TASKS).map(|task| tokio::spawn(write_on(store.clone(), task)));
    let tasks: Vec<_> = tasks.collect();
    while store.snapshot().await.is_ok() {
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    for task in tasks {
        task.await.expect("a writer ends when the store does");
    }
    say("stopped");
}

/// One line, in one write.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody may be listening any more.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

async fn write_on(store: Arc<RaftStore>, task: usize) {
    loop {
        let last = store.view().get(&last_key(task));
        let next = last.as_ref().map_or(1, |entry| number(entry) + 1);
        let txn = Txn { ops: ops(task, next, last.as_ref().map(|entry| entry.modified)), term: None };
        match store.commit(txn).await {
            Ok(committed) => say(&format!("ack {task} {next} {}", committed.revision.0)),
            Err(_) => return,
        }
    }
}

fn ops(task: usize, next: u64, last: Option<Revision>) -> Vec<Op> {
    let put = |key: String, expect, value| Op { key: key.into(), expect, action: Action::Put(value) };
    let mut ops = vec![
        put(value_key(task, next), Expect::Absent, value(next)),
        put(last_key(task), last.map_or(Expect::Absent, Expect::At), format!("{next} ").into()),
    ];
    if next > WINDOW {
        let key = value_key(task, next - WINDOW).into();
        ops.push(Op { key, expect: Expect::Anything, action: Action::Delete });
    }
    ops
}
