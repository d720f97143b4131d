//! Events: what a component tells users about an object. Best effort, counted and bounded as upstream's recorder does.

mod correlate;
mod recorder;

pub use recorder::{EventRecorder, Involved, Severity};
