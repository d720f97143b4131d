//! Where a pod may or had better run: the parts of its spec that pods of one workload share, held once.

use super::meta::malformed;
use crate::intern::Interner;
use coracle_proto::ApiError;
use k8s_openapi::api::core::v1::{Affinity, Toleration, TopologySpreadConstraint};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Constraints {
    pub node_selector: BTreeMap<String, String>,
    pub affinity: Option<Affinity>,
    pub tolerations: Vec<Toleration>,
    pub topology_spread: Vec<TopologySpreadConstraint>,
    /// Of init containers and containers, as the spec names them.
    pub images: Vec<String>,
}

static CONSTRAINTS: Interner<Constraints> = Interner::new();

/// The four fields of `spec` as JSON text, `null` where absent, and the images.
pub(super) struct RawConstraints<'a> {
    pub(super) node_selector: Option<&'a RawValue>,
    pub(super) affinity: Option<&'a RawValue>,
    pub(super) tolerations: Option<&'a RawValue>,
    pub(super) topology_spread: Option<&'a RawValue>,
    pub(super) images: Vec<&'a str>,
}

impl RawConstraints<'_> {
    pub(super) fn shared(&self) -> Result<Arc<Constraints>, ApiError> {
        let text = |raw: Option<&RawValue>| raw.map_or("null", RawValue::get).to_owned();
        let parts = [self.node_selector, self.affinity, self.tolerations, self.topology_spread].map(text);
        let images = serde_json::to_string(&self.images).map_err(malformed)?;
        // Together they are a JSON array, so texts of different fields never run into each other.
        let key = format!("[{},{images}]", parts.join(","));
        CONSTRAINTS.get(&key, || decode(&key).map(Arc::new)).map_err(malformed)
    }
}

fn decode(text: &str) -> Result<Constraints, serde_json::Error> {
    #[derive(Deserialize)]
    struct Parts(
        Option<BTreeMap<String, String>>,
        Option<Affinity>,
        Option<Vec<Toleration>>,
        Option<Vec<TopologySpreadConstraint>>,
        Vec<String>,
    );
    let Parts(node_selector, affinity, tolerations, topology_spread, images) = serde_json::from_str(text)?;
    Ok(Constraints {
        node_selector: node_selector.unwrap_or_default(),
        affinity,
        tolerations: tolerations.unwrap_or_default(),
        topology_spread: topology_spread.unwrap_or_default(),
        images,
    })
}
