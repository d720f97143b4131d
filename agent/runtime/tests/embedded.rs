//! The embedded runtime against the suite. Needs root and a static busybox.

mod suite;

use suite::ground::ground;

macro_rules! suite {
    ($($group:ident: $($name:ident),+ $(,)?;)+) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(ground) = ground().await {
                    suite::$group::$name(&ground).await;
                }
            }
        )+)+
    };
}

suite! {
    life: a_container_runs_and_its_end_is_known;
}
