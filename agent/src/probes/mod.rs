//! Probes and the handlers that lifecycle hooks share with them.

mod grpc;
mod http;
mod run;
mod state;
mod tls;

pub use http::{connect_error, get as http_get};
pub use run::{Checks, ProbeContext, ProbeReport, exec, http_target, port_of};
pub use state::{ProbeKind, Settings, Verdict};
