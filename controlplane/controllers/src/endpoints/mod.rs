//! EndpointSlices and Endpoints: which pods answer for a Service. Both come from the same facts.

mod facts;
mod legacy;
mod legacy_plan;
mod mirror;
mod mirror_plan;
mod slices;
mod slices_plan;
mod spread;
mod watch;
mod writer;

pub(crate) use legacy::run as run_legacy;
pub(crate) use mirror::run as run_mirror;
pub(crate) use slices::run as run_slices;
