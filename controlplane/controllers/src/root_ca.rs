//! Publishes the cluster's CA certificates as ConfigMap `kube-root-ca.crt` in every namespace.

use crate::context::Context;
use async_trait::async_trait;
use coracle_client::{Controller, Error, Next, Patch, WorkQueue};
use coracle_proto::resource::CONFIG_MAPS;
use coracle_proto::{ObjectKey, Tree, meta};
use serde_json::json;
use std::sync::Arc;

const NAME: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";
/// Upstream's text, which tools compare.
const TEXT: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

struct RootCa {
    context: Context,
}

pub(crate) async fn run(context: Context) {
    let queue = WorkQueue::new();
    let informers = &context.informers;
    let own = queue.clone();
    informers.namespaces.subscribe(move |delta| own.add(ObjectKey::clone(&delta.key)));
    let by_map = queue.clone();
    informers.root_ca_config_maps.subscribe(move |delta| by_map.add(ObjectKey::cluster(&*delta.key.namespace)));
    tokio::join!(informers.namespaces.synced(), informers.root_ca_config_maps.synced());
    context.run(Arc::new(RootCa { context: context.clone() }), queue).await;
}

#[async_trait]
impl Controller for RootCa {
    const NAME: &'static str = "root-ca-certificate-publisher-controller";
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let informers = &self.context.informers;
        if informers.namespaces.get(key).is_none_or(|namespace| namespace.is_deleting()) {
            return Ok(Next::Done);
        }
        let map = ObjectKey::new(&*key.name, NAME);
        let written = match informers.root_ca_config_maps.object(&map) {
            Some(object) if self.is_right(&object.tree()?) => return Ok(Next::Done),
            Some(_) => self.context.api.patch(&CONFIG_MAPS, &map, "", Patch::Merge(self.wanted())).await,
            None => {
                let mut body = self.wanted();
                body["apiVersion"] = "v1".into();
                body["kind"] = "ConfigMap".into();
                body["metadata"]["name"] = NAME.into();
                body["metadata"]["namespace"] = key.name.as_str().into();
                self.context.api.create(&CONFIG_MAPS, &ObjectKey::new(&*key.name, ""), "", body).await
            }
        };
        match written {
            Ok(_) => Ok(Next::Done),
            // The cache's next change brings the key back.
            Err(e) if e.is_already_exists() || e.is_not_found() => Ok(Next::Done),
            Err(e) if crate::replicaset::is_namespace_ending(&e) => Ok(Next::Done),
            Err(e) => Err(e.into()),
        }
    }
}

impl RootCa {
    fn wanted(&self) -> Tree {
        json!({"metadata": {"annotations": {DESCRIPTION: TEXT}}, "data": {"ca.crt": self.context.config.root_ca}})
    }

    fn is_right(&self, map: &Tree) -> bool {
        map["data"] == self.wanted()["data"] && meta::annotation(map, DESCRIPTION) == Some(TEXT)
    }
}
