//! What the end-to-end tests share: real clusters of the real binary, real `kubectl`, and waiting for a condition.

mod api;
mod cluster;
mod kubectl;
mod leftovers;
mod wait;

pub use api::{Answer, Api, Connection};
pub use cluster::{Cluster, Options, coracle, use_binary};
pub use kubectl::{Kubectl, Output, versions};
pub use leftovers::Host;
pub use wait::{eventually, within};

/// Whether a test that needs root, `kubectl` or an engine may run here. Where it cannot, one line says so and the
/// test passes; with `CI=true` it fails instead.
pub fn can_run(what: &[Need]) -> bool {
    let missing: Vec<&str> = what.iter().filter(|need| !need.is_met()).map(|need| need.name()).collect();
    if missing.is_empty() {
        return true;
    }
    let line = format!("skipped: this test needs {}", missing.join(" and "));
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{line}");
    eprintln!("{line}");
    false
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Root,
    Kubectl,
}

impl Need {
    fn is_met(self) -> bool {
        match self {
            Self::Root => rustix::process::geteuid().is_root(),
            Self::Kubectl => !versions().is_empty(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Kubectl => "kubectl",
        }
    }
}
