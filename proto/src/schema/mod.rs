//! The table of built-in types and everything generic that reads it: strict decoding, protobuf, strategic merge, defaults.
//!
//! A [`Type`] is plain data, so a custom resource's schema can fill the same structure.

pub mod decode;
pub mod defaults;
pub mod patch;
pub mod protobuf;
#[cfg(test)]
mod sample;
mod table;
mod types;

pub use table::{all_names, named, of_kind};
pub use types::{Condition, DefaultRule, Field, GroupVersionKind, ListKind, PatchStrategy, Shape, Type, TypeRef};
