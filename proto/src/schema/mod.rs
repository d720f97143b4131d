//! The table of built-in types.
