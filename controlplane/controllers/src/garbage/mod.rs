//! The garbage collector: what is owned goes when the last owner is gone; foreground and orphan deletion.
//! <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>

mod collector;
mod graph;
mod plan;
mod sources;

pub(crate) use collector::run;
