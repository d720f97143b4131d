//! The handle the agent holds: what it may ask of the node's network.

use crate::{Config, NetworkError, PodLink, Services};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// One node's network. Cheap to clone; dropping the last handle stops the DNS responder and leaves the kernel as it is.
#[derive(Clone, Debug)]
pub struct Network {
    config: Config,
}

fn missing(what: &str) -> NetworkError {
    NetworkError::Host { what: format!("{what} is not built yet"), fix: "wait for the next slice".into() }
}

impl Network {
    /// Makes the node's network, or takes over what an earlier process left.
    pub async fn start(config: Config) -> Result<Network, NetworkError> {
        Ok(Network { config })
    }

    /// Connects a pod and returns its address; the same one for the same id.
    pub async fn attach(&self, _link: &PodLink) -> Result<Ipv4Addr, NetworkError> {
        Err(missing("attach"))
    }

    /// Takes a pod off the network and frees its address. No error if it is not there.
    pub async fn detach(&self, _id: &str) -> Result<(), NetworkError> {
        Err(missing("detach"))
    }

    /// Returns when the kernel and DNS have them, all at once.
    pub async fn set_services(&self, _services: Services) -> Result<(), NetworkError> {
        Err(missing("set_services"))
    }

    /// The ids of the pods that hold an address.
    pub async fn attached(&self) -> Vec<String> {
        Vec::new()
    }

    /// The node's own address on the pod network.
    pub fn gateway(&self) -> Ipv4Addr {
        self.config.pod_range.hosts().next().unwrap_or(self.config.pod_range.network())
    }

    /// Takes everything down and leaves the host as it was found.
    pub async fn teardown(self) -> Result<(), NetworkError> {
        Err(missing("teardown"))
    }
}

/// Ranges that this host already routes, or that another node's network on it has claimed.
pub async fn used_ranges() -> Result<Vec<Ipv4Net>, NetworkError> {
    Ok(Vec::new())
}

/// What [`Network::teardown`] does, for a node whose process is gone.
pub async fn teardown_leftovers(_id: &str) -> Result<(), NetworkError> {
    Err(missing("teardown_leftovers"))
}
