//! Waiting for the world to be as a test wants it, never for time to pass.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Long enough for a loaded machine; a test that passes never waits it out.
const PATIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(20);

/// Asks until the answer is `Ok`, and returns it. Panics with the last `Err` when patience ends.
#[track_caller]
pub fn eventually<T, E: Debug>(what: &str, ask: impl FnMut() -> Result<T, E>) -> T {
    within(PATIENCE, what, ask)
}

/// As [`eventually`], with a patience of one's own.
#[track_caller]
pub fn within<T, E: Debug>(patience: Duration, what: &str, mut ask: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < deadline, "{what}: not within {patience:?}; last: {error:?}"),
        }
        std::thread::sleep(STEP);
    }
}
