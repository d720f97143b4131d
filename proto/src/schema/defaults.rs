//! Static defaults, from the table `defaults.txt`.

use super::Type;
use serde_json::Value;

/// Fills in every absent field that has a fixed default, at every depth.
pub fn apply(_ty: &Type, _tree: &mut Value) {}
