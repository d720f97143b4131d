//! Checks that several kinds share. Every check appends what is wrong; none stops at the first error.

mod labels;
mod metadata;
mod path;
mod tree;

pub use labels::{label_selector, labels};
pub use metadata::{metadata, metadata_update};
pub use path::Path;
pub use tree::{copy_field, enumeration, immutable, int, items, items_mut, non_negative, optional_int, text};

/// What is wrong so far.
pub type Errors = Vec<coracle_proto::field::FieldError>;
