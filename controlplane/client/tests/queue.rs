//! The work queue's promises, on a paused clock.

use async_trait::async_trait;
use coracle_client::runner::{self, NoMetrics};
use coracle_client::{Controller, Error, Next, WorkQueue};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

const SHORT: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn keys_are_not_doubled_and_stay_in_order() {
    let queue = WorkQueue::new();
    for key in ["a", "b", "a", "c", "b"] {
        queue.add(key);
    }
    for want in ["a", "b", "c"] {
        assert_eq!(queue.next().await, Some(want));
    }
    assert!(timeout(SHORT, queue.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_key_in_work_waits_for_its_worker() {
    let queue = WorkQueue::new();
    queue.add("a");
    assert_eq!(queue.next().await, Some("a"));
    queue.add("a");
    assert!(timeout(SHORT, queue.next()).await.is_err(), "one worker per key");
    queue.done(&"a");
    assert_eq!(timeout(SHORT, queue.next()).await, Ok(Some("a")), "what was added meanwhile is not lost");
}

#[tokio::test(start_paused = true)]
async fn the_earliest_delay_counts() {
    let (queue, start) = (WorkQueue::new(), Instant::now());
    queue.add_after("a", Duration::from_secs(60));
    queue.add_after("a", Duration::from_secs(5));
    queue.add_after("a", Duration::from_secs(30));
    assert_eq!(queue.next().await, Some("a"));
    assert_eq!(start.elapsed().as_secs(), 5);
    queue.done(&"a");
    assert!(timeout(Duration::from_secs(100), queue.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn back_off_doubles_is_bounded_and_ends() {
    let queue = WorkQueue::new();
    let delays: Vec<u128> = (0..4).map(|_| queue.retry("a").as_millis()).collect();
    assert_eq!(delays, [5, 10, 20, 40]);
    let last = (0..40).map(|_| queue.retry("a")).reduce(|_, last| last);
    assert_eq!(last, Some(Duration::from_secs(300)));
    queue.forget(&"a");
    assert_eq!(queue.retry("a").as_millis(), 5);
}

/// Fails twice with an error, then panics once, then is content.
struct Stubborn(AtomicUsize, Mutex<Vec<Instant>>);

#[async_trait]
impl Controller for Stubborn {
    const NAME: &'static str = "stubborn";
    type Key = String;

    async fn reconcile(&self, _: &String) -> Result<Next, Error> {
        self.1.lock().expect("no test panics with it").push(Instant::now());
        match self.0.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Err(Error::Unusable { what: "x".into(), why: "y".into() }),
            2 => panic!("a bug"),
            _ => Ok(Next::Done),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_runner_retries_survives_a_panic_and_stops() {
    let controller = Arc::new(Stubborn(AtomicUsize::new(0), Mutex::default()));
    let (queue, stop) = (WorkQueue::new(), CancellationToken::new());
    queue.add("a".to_owned());
    let running = tokio::spawn(runner::run(controller.clone(), queue.clone(), 2, Arc::new(NoMetrics), stop.clone()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let times = controller.1.lock().expect("no test panics with it").clone();
    let gaps: Vec<u128> = times.windows(2).map(|w| (w[1] - w[0]).as_millis()).collect();
    assert_eq!(gaps, [5, 10, 20]);
    stop.cancel();
    timeout(Duration::from_secs(1), running).await.expect("stops in time").expect("does not panic");
    queue.add("b".to_owned());
    assert_eq!(queue.next().await, None);
}
