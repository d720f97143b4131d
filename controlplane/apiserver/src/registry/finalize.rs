//! `namespaces/finalize`: the namespace controller takes its finalizer away once a namespace is empty.

use super::replace::Part;
use super::{Call, Registry};
use coracle_proto::{ApiError, Object, Tree, meta};

impl Registry {
    pub(super) async fn finalize(&self, call: &Call<'_>, new: &Tree) -> Result<Object, ApiError> {
        let finalizers = new["spec"]["finalizers"].clone();
        let version = new["metadata"]["resourceVersion"].clone();
        self.replace(call, Part::Trusted, |old| {
            let mut finalized = old.clone();
            let spec = meta::entry_object(&mut finalized, "spec");
            match finalizers.as_array() {
                Some(list) if !list.is_empty() => spec.insert("finalizers".into(), finalizers.clone()),
                _ => spec.remove("finalizers"),
            };
            meta::metadata_mut(&mut finalized).insert("resourceVersion".into(), version.clone());
            Ok(finalized)
        })
        .await
    }
}
