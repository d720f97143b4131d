//! The network on the real kernel, each test in a network namespace of its own that stands for the host. Needs root:
//! without it the tests say so and pass, unless `CI=true`.

mod host;
mod namespace;

mod coexistence;
mod lifecycle;
mod names;
mod pods;
mod services;
