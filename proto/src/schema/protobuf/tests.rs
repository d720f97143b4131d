//! Round trips, upstream's own bytes, and damage.
