//! What was acknowledged survives `kill -9` and power cuts: nothing is lost, doubled or reordered.
//!
//! The full run: `CORACLE_KILLS=200 CORACLE_POWER_CUTS=200 cargo test -p coracle-store --test durability`.

mod cuts;
mod disk;
mod kills;
mod ledger;
mod mount;
mod process;
mod worker;

/// How often, from the environment or the default.
fn count(variable: &str, default: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {text:?}")),
        Err(_) => default,
    }
}
