//! The agent on a real runtime and a real network, against a control plane that is only the node link's contract.
//! Needs root and `/bin/busybox`.

mod adoption;
mod certificates;
mod control;
mod ending;
mod ground;
mod pods;
mod probes;
mod restarts;
mod services;
mod streams;
mod volumes;
