//! What every store must do, whichever way it keeps its data. Each test runs against each implementation.

mod behaviour;
mod model;
mod past;
mod subject;
mod watching;

/// Makes one test per implementation of each function.
#[macro_export]
macro_rules! for_every_store {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                $crate::subject::memory($crate::subject::HISTORY, super::$name).await;
            })*
        }
        mod raft {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                $crate::subject::raft($crate::subject::HISTORY, super::$name).await;
            })*
        }
    };
}
