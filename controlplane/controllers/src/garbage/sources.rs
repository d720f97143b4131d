//! Metadata of every object of every kind: from the shared informers where they hold a kind anyway, else from own ones.

use crate::context::Context;
use coracle_client::facts::Project;
use coracle_client::{Informer, Meta};
use coracle_proto::{ListOptions, Resource};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the list of served kinds is looked at (upstream: 30 s).
const DISCOVERY: Duration = Duration::from_secs(30);

/// Told of every change of every object.
pub(super) type Sink = Arc<dyn Fn(&Resource, Option<&Meta>, Option<&Meta>) + Send + Sync>;

fn attach<T: Project>(informer: &Informer<T>, sink: &Sink) {
    let (resource, sink) = (informer.resource().clone(), sink.clone());
    informer.subscribe(move |delta| {
        let (old, new) = (delta.old.as_deref().map(T::meta), delta.new.as_deref().map(T::meta));
        sink(&resource, old, new);
    });
}

/// Subscribes to the shared informers; returns the kinds they cover.
pub(super) async fn attach_shared(context: &Context, sink: &Sink) -> Vec<Resource> {
    let shared = &context.informers;
    macro_rules! attach {
        ($($field:ident)*) => {{
            $(shared.$field.synced().await; attach(&shared.$field, sink);)*
            vec![$(shared.$field.resource().clone()),*]
        }};
    }
    attach!(pods nodes services deployments replica_sets endpoints endpoint_slices namespaces service_accounts)
}

/// Events have no dependents, and nobody waits for them; upstream leaves them out too.
fn is_watched(resource: &Resource) -> bool {
    resource.plural != "events"
}

/// Follows the kinds served beyond `covered`, as they come and go, until stopped.
pub(super) async fn follow_others(context: Context, sink: Sink, covered: Vec<Resource>) {
    let mut own: HashMap<Resource, (Arc<Informer<Meta>>, CancellationToken)> = HashMap::new();
    loop {
        let mut served = (context.config.resources)();
        served.retain(|r| is_watched(r) && !covered.contains(r));
        own.retain(|resource, (informer, stop)| {
            let keep = served.contains(resource);
            if !keep {
                stop.cancel();
                informer.list().iter().for_each(|meta| sink(resource, Some(meta), None));
            }
            keep
        });
        for resource in served {
            own.entry(resource.clone()).or_insert_with(|| {
                let informer = Informer::new(context.api.clone(), resource, ListOptions::default());
                let stop = context.stop.child_token();
                attach(&informer, &sink);
                // Detached: it ends with its token.
                drop(informer.start(stop.clone()));
                (informer, stop)
            });
        }
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(DISCOVERY) => {}
        }
    }
}
