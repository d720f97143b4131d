//! Containers and images behind one trait.

mod api;
pub mod images;

pub use api::*;
