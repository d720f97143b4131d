//! What the network of a node is, and each thing that can be asked of it: decided purely elsewhere, done here. Owned by
//! one task, so requests are done one after the other.

use crate::ipam::{self, Ledger};
use crate::links::Links;
use crate::record::Records;
use crate::table::{self, Table, blocking};
use crate::{Config, NetworkError, PodLink, Service, Services, conntrack, dns, rules};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::sync::Arc;

pub struct Node {
    config: Arc<Config>,
    gateway: Ipv4Addr,
    links: Links,
    records: Records,
    ledger: Ledger,
    services: Arc<Services>,
    table: Table,
    dns: dns::Server,
}

impl Node {
    /// Makes what is missing and takes over what an earlier process left; services are the last ones it was told. Where
    /// there was nothing and it fails, there is nothing again.
    pub async fn start(config: Config) -> Result<Self, NetworkError> {
        ipam::validate(&config)?;
        let config = Arc::new(config);
        let links = Links::open()?;
        let is_new = !links.has_node(&config.id).await?;
        match Self::start_with(config.clone(), links, is_new).await {
            Err(why) if is_new => {
                if let Err(error) = teardown_leftovers(&config.id).await {
                    tracing::warn!(%error, "a network that could not start could not be taken down either");
                }
                Err(why)
            }
            started => started,
        }
    }

    async fn start_with(config: Arc<Config>, links: Links, is_new: bool) -> Result<Self, NetworkError> {
        let gateway = rules::gateway(&config);
        let records = Records::open(&config.state_dir)?;
        let ledger = records.ledger(config.pod_range, !is_new)?;
        let services = Arc::new(records.services());
        let mut table = Table::open(config.clone())?;
        links.ensure_node(&config, gateway).await?;
        table.apply(services.clone(), ledger.host_ports()).await?;
        table.open_ways().await?;
        let dns = dns::Server::start(&config, gateway, services.clone()).await?;
        Ok(Self { config, gateway, links, records, ledger, services, table, dns })
    }

    pub async fn attach(&mut self, link: &PodLink) -> Result<Ipv4Addr, NetworkError> {
        let before = self.ledger.get(&link.id).cloned();
        let address = self.ledger.hold(&link.id, &link.host_ports)?;
        if before.as_ref() != self.ledger.get(&link.id) {
            self.records.save_ledger(&self.ledger)?;
        }
        self.links.ensure_pod(&self.config, self.gateway, &link.netns, address).await?;
        // Also if they did not change: an earlier attempt may have stopped before this point.
        if !link.host_ports.is_empty() || before.is_some_and(|held| !held.host_ports.is_empty()) {
            self.apply().await?;
            let stale = conntrack::before_host_ports(&link.host_ports);
            blocking(move || conntrack::forget(&stale)).await?;
        }
        Ok(address)
    }

    pub async fn detach(&mut self, id: &str) -> Result<(), NetworkError> {
        let Some(holding) = self.ledger.get(id).cloned() else { return Ok(()) };
        self.links.remove_pod(&self.config, holding.address).await?;
        self.ledger.release(id);
        self.records.save_ledger(&self.ledger)?;
        if holding.host_ports.is_empty() {
            return Ok(());
        }
        self.apply().await?;
        blocking(move || conntrack::forget(&conntrack::after_host_ports(holding.address, &holding.host_ports))).await
    }

    pub async fn set_services(&mut self, services: Services) -> Result<(), NetworkError> {
        validate(&services)?;
        if *self.services != services {
            self.records.save_services(&services)?;
        }
        let before = std::mem::replace(&mut self.services, Arc::new(services));
        self.dns.set_services(self.services.clone());
        self.apply().await?;
        let stale = conntrack::stale(&before, &self.services);
        blocking(move || conntrack::forget(&stale)).await?;
        self.table.open_ways().await
    }

    pub fn attached(&self) -> Vec<String> {
        self.ledger.ids().cloned().collect()
    }

    /// Puts back what others took away: another program may flush every table, or rewrite its own.
    pub async fn audit(&mut self) -> Result<(), NetworkError> {
        if !self.table.is_there().await? {
            tracing::warn!(node = self.config.id, "the rules are gone: putting them back");
            self.apply().await?;
        }
        self.table.open_ways().await
    }

    pub async fn teardown(self) -> Result<(), NetworkError> {
        self.dns.stop().await;
        take_down(&self.config.id, &self.links).await?;
        self.records.remove()
    }

    async fn apply(&mut self) -> Result<(), NetworkError> {
        self.table.apply(self.services.clone(), self.ledger.host_ports()).await
    }
}

/// Removes everything of a node from the kernel; needs nothing but its id.
pub async fn teardown_leftovers(id: &str) -> Result<(), NetworkError> {
    take_down(id, &Links::open()?).await
}

/// Pods first: none must be able to send while the rules that hold it are gone.
async fn take_down(id: &str, links: &Links) -> Result<(), NetworkError> {
    links.remove_node(id).await?;
    table::remove(id).await
}

/// Ranges that this host uses, or that a node's network on it has claimed.
pub async fn used_ranges() -> Result<Vec<Ipv4Net>, NetworkError> {
    let mut ranges = Links::open()?.used_ranges().await?;
    ranges.extend(table::claims().await?.into_iter().flat_map(|claim| [claim.cluster_range, claim.service_range]));
    ranges.sort();
    ranges.dedup();
    Ok(ranges)
}

/// Names become names of chains: they must have the length Kubernetes allows them.
fn validate(services: &Services) -> Result<(), NetworkError> {
    let bad =
        |service: &&Service| [&service.namespace, &service.name].iter().any(|name| !(1..=63).contains(&name.len()));
    match services.0.iter().find(bad) {
        None => Ok(()),
        Some(service) => Err(NetworkError::Host {
            what: format!("service {:?} in {:?} has a name of a wrong length", service.name, service.namespace),
            fix: "names have 1 to 63 characters".into(),
        }),
    }
}
