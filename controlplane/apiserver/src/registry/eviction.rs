//! `pods/eviction`: a delete that respects disruption budgets, once there are any.

use super::{Call, Registry, get};
use coracle_client::DeleteOptions;
use coracle_proto::{ApiError, Object, Tree, meta};
use serde_json::json;

impl Registry {
    pub(super) async fn evict(&self, call: &Call<'_>, eviction: &Tree) -> Result<Object, ApiError> {
        let name = meta::name(eviction);
        if !name.is_empty() && name != call.key.name {
            let why = format!("name in URL does not match name in Eviction object: {} != {name}", call.key.name);
            return Err(ApiError::bad_request(why));
        }
        let options = &eviction["deleteOptions"];
        let mut delete = DeleteOptions {
            grace_period_seconds: options["gracePeriodSeconds"].as_i64(),
            uid: options["preconditions"]["uid"].as_str().map(Into::into),
            resource_version: options["preconditions"]["resourceVersion"].as_str().map(Into::into),
            dry_run: call.dry_run,
            ..DeleteOptions::default()
        };
        delete.dry_run |= options["dryRun"].as_array().is_some_and(|list| !list.is_empty());
        let whole = Call { subresource: "", ..call.clone() };
        self.delete_authorised(&whole, &delete).await?;
        let done = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
        Ok(get::from_tree(&done, 0))
    }
}
