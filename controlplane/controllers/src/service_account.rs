//! ServiceAccount: every namespace has the account `default`.

use crate::context::Context;
use async_trait::async_trait;
use coracle_client::{Controller, Error, Next, WorkQueue};
use coracle_proto::ObjectKey;
use coracle_proto::resource::SERVICE_ACCOUNTS;
use serde_json::json;
use std::sync::Arc;

const DEFAULT: &str = "default";

struct ServiceAccounts {
    context: Context,
}

pub(crate) async fn run(context: Context) {
    let queue = WorkQueue::new();
    let informers = &context.informers;
    let own = queue.clone();
    informers.namespaces.subscribe(move |delta| own.add(ObjectKey::clone(&delta.key)));
    let by_account = queue.clone();
    informers.service_accounts.subscribe(move |delta| {
        if delta.new.is_none() {
            by_account.add(ObjectKey::cluster(&*delta.key.namespace));
        }
    });
    tokio::join!(informers.namespaces.synced(), informers.service_accounts.synced());
    context.run(Arc::new(ServiceAccounts { context: context.clone() }), queue).await;
}

#[async_trait]
impl Controller for ServiceAccounts {
    const NAME: &'static str = "service-account-controller";
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let informers = &self.context.informers;
        let account = ObjectKey::new(&*key.name, DEFAULT);
        let alive = informers.namespaces.get(key).is_some_and(|namespace| !namespace.is_deleting());
        if !alive || informers.service_accounts.get(&account).is_some() {
            return Ok(Next::Done);
        }
        let body = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": DEFAULT, "namespace": key.name},
        });
        let parent = ObjectKey::new(&*key.name, "");
        match self.context.api.create(&SERVICE_ACCOUNTS, &parent, "", body).await {
            Ok(_) => Ok(Next::Done),
            Err(e) if e.is_already_exists() || crate::replicaset::is_namespace_ending(&e) => Ok(Next::Done),
            Err(e) => Err(e.into()),
        }
    }
}
