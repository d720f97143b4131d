//! Cases with upstream's results.
