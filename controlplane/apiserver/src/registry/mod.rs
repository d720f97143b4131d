//! The one front door: every read and write is authorised, defaulted, admitted, validated and committed here.
//! One file per verb.

mod allocation;
mod binding;
mod call;
mod client;
mod commit;
mod create;
mod delete;
mod delete_plan;
mod errors;
mod eviction;
mod finalize;
mod get;
pub(crate) mod keys;
pub mod list;
mod patch;
mod replace;
mod review;
mod scale;
mod select;
mod token;
mod update;
mod watch;

pub use call::{Call, Outcome};
pub use delete::Deleted;
pub use watch::WatchFrom;

use crate::config::RegistryConfig;
use coracle_store::Store;
use std::sync::Arc;

/// Reads and writes objects on behalf of users.
pub struct Registry {
    store: Arc<dyn Store>,
    config: RegistryConfig,
}

impl Registry {
    pub fn new(store: Arc<dyn Store>, config: RegistryConfig) -> Arc<Self> {
        Arc::new(Self { store, config })
    }

    pub fn config(&self) -> &RegistryConfig {
        &self.config
    }

    /// The newest state this server has.
    pub(crate) fn local_view(&self) -> Arc<dyn coracle_store::View> {
        self.store.view()
    }

    /// Whether a linearizable read is possible now.
    pub async fn ready(&self) -> Result<(), coracle_proto::ApiError> {
        self.store.read_barrier().await.map_err(errors::read_error)
    }
}
