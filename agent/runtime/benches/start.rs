//! How long a sandbox and a container take, image present: `cargo bench -p coracle-runtime --bench start`.
//! Prints medians and the 90th percentile; asserts nothing, for machines differ.

#[path = "../tests/suite/ground.rs"]
#[allow(dead_code)]
mod ground;

use std::time::{Duration, Instant};

#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn print(&mut self, what: &str) {
        self.0.sort();
        let at = |share: usize| self.0[(self.0.len() - 1) * share / 100].as_secs_f64() * 1000.0;
        println!("{what:<28} median {:>7.2} ms   p90 {:>7.2} ms", at(50), at(90));
    }
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a tokio runtime");
    runtime.block_on(async {
        let Some(ground) = ground::ground().await else { return };
        let count: usize = std::env::var("CORACLE_STARTS").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
        let [mut sandboxes, mut creates, mut starts, mut execs, mut stops, mut removes]: [Times; 6] =
            Default::default();
        for _ in 0..count {
            let clock = Instant::now();
            let sandbox = ground.sandbox().await;
            sandboxes.0.push(clock.elapsed());
            let clock = Instant::now();
            let id =
                ground.runtime.create_container(&sandbox.id, &ground.spec(&["sleep", "1000"])).await.expect("made");
            creates.0.push(clock.elapsed());
            let clock = Instant::now();
            ground.runtime.start_container(&id).await.expect("it starts");
            starts.0.push(clock.elapsed());
            let clock = Instant::now();
            assert_eq!(ground.exec(&id, "true").await.0, 0);
            execs.0.push(clock.elapsed());
            let clock = Instant::now();
            ground.runtime.stop_container(&id, Duration::ZERO).await.expect("it stops");
            stops.0.push(clock.elapsed());
            let clock = Instant::now();
            ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
            removes.0.push(clock.elapsed());
        }
        sandboxes.print("sandbox made");
        creates.print("container made");
        starts.print("container running");
        execs.print("exec of true, to its end");
        stops.print("container killed");
        removes.print("sandbox removed");
    });
}
