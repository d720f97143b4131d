//! What the end-to-end tests share: real clusters of the real binary, real `kubectl`, and waiting for a condition.

mod api;
mod cluster;
mod http;
mod images;
mod kubectl;
mod leftovers;
mod manifests;
mod observe;
mod wait;

pub use api::{Answer, Api, Connection};
pub use cluster::{Cluster, Options, coracle, use_binary};
pub use http::fetch;
pub use images::{BUSYBOX, WebImage, web_archive};
pub use kubectl::{Kubectl, Output, versions};
pub use leftovers::Marks;
pub use manifests::{Manifest, manifests_dir};
pub use observe::{Moment, Observation};
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
    /// Debian's busybox-static, at the place where that package puts it.
    Busybox,
}

impl Need {
    fn is_met(self) -> bool {
        match self {
            Self::Root => rustix::process::geteuid().is_root(),
            Self::Kubectl => !versions().is_empty(),
            Self::Busybox => std::path::Path::new(BUSYBOX).is_file(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Kubectl => "kubectl",
            Self::Busybox => "busybox-static",
        }
    }
}
