//! Containers and images behind one trait.

mod api;

pub use api::*;
