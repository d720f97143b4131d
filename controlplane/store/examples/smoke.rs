use coracle_store::*;
use std::sync::Arc;
use std::time::Instant;
#[tokio::main]
async fn main() {
    let dir = std::env::args().nth(1).expect("dir");
    let start = Instant::now();
    let store = Arc::new(RaftStore::open(RaftConfig::new(dir, 1, |value, _| value.clone())).await.expect("opens"));
    println!("open {:?} revision {:?} term {:?}", start.elapsed(), store.view().revision(), store.leading());
    for clients in [1, 1, 64] {
        let start = Instant::now();
        let n = 2000;
        let tasks: Vec<_> = (0..clients)
            .map(|c| {
                let store = store.clone();
                tokio::spawn(async move {
                    for i in 0..n / clients {
                        let op = Op {
                            key: format!("k/{c}/{}", i % 50).into(),
                            expect: Expect::Anything,
                            action: Action::Put(vec![7; 1000].into()),
                        };
                        store.commit(Txn { ops: vec![op], term: None }).await.expect("commits");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        println!("{clients} clients: {:.0}/s", n as f64 / start.elapsed().as_secs_f64());
    }
    let start = Instant::now();
    store.read_barrier().await.expect("barrier");
    println!("barrier {:?}", start.elapsed());
    Arc::try_unwrap(store).ok().expect("alone").close().await;
}
