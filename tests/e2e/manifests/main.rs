//! The manifests under `tests/manifests`: those that are whole apply as they stand and do what they say; those that are
//! fragments are refused with Kubernetes' words, and work with the least overlay.

mod configuration;
mod deployments;
mod dns;
mod ground;
mod pods;
mod probes;
mod scaling;
mod services;
mod traffic;
mod verdicts;
