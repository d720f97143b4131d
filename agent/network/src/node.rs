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
    /// The record on disk is behind the ledger.
    ledger_unsaved: bool,
    /// What the kernel holds.
    services: Arc<Services>,
    services_unsaved: bool,
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
        Ok(Self {
            config,
            gateway,
            links,
            records,
            ledger,
            ledger_unsaved: false,
            services,
            services_unsaved: false,
            table,
            dns,
        })
    }

    pub async fn attach(&mut self, link: &PodLink) -> Result<Ipv4Addr, NetworkError> {
        let before = self.ledger.get(&link.id).cloned();
        let address = self.ledger.hold(&link.id, &link.host_ports)?;
        self.ledger_unsaved |= before.as_ref() != self.ledger.get(&link.id);
        self.save_ledger()?;
        self.links.ensure_pod(&self.config, self.gateway, &link.netns, address).await?;
        // Also if they did not change: an earlier attempt may have stopped before this point.
        if !link.host_ports.is_empty() || before.is_some_and(|held| !held.host_ports.is_empty()) {
            self.apply().await?;
            let stale = conntrack::before_host_ports(&link.host_ports);
            blocking(move || conntrack::forget(&stale)).await?;
        }
        Ok(address)
    }

    /// The address is free only once nothing leads to it any more, so whatever fails before is done when asked again.
    pub async fn detach(&mut self, id: &str) -> Result<(), NetworkError> {
        let Some(holding) = self.ledger.get(id).cloned() else { return self.save_ledger() };
        self.links.remove_pod(&self.config, holding.address).await?;
        if !holding.host_ports.is_empty() {
            let mut others = self.ledger.host_ports();
            others.retain(|binding| binding.pod != holding.address);
            self.table.apply(self.services.clone(), others).await?;
            let stale = conntrack::after_host_ports(holding.address, &holding.host_ports);
            blocking(move || conntrack::forget(&stale)).await?;
        }
        self.ledger.release(id);
        self.ledger_unsaved = true;
        self.save_ledger()
    }

    /// What is known as told is what the kernel holds: a failed attempt leaves the old services for the next to compare.
    pub async fn set_services(&mut self, services: Services) -> Result<(), NetworkError> {
        validate(&services)?;
        let services = Arc::new(services);
        self.table.apply(services.clone(), self.ledger.host_ports()).await?;
        self.services_unsaved |= *self.services != *services;
        let before = std::mem::replace(&mut self.services, services);
        self.dns.set_services(self.services.clone());
        self.save_services();
        let stale = conntrack::stale(&before, &self.services);
        blocking(move || conntrack::forget(&stale)).await?;
        self.table.open_ways().await
    }

    pub fn attached(&self) -> Vec<String> {
        self.ledger.ids().cloned().collect()
    }

    /// Puts back what others took away: another program may flush every table, or rewrite its own.
    pub async fn audit(&mut self) -> Result<(), NetworkError> {
        self.save_services();
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

    fn save_ledger(&mut self) -> Result<(), NetworkError> {
        if self.ledger_unsaved {
            self.records.save_ledger(&self.ledger)?;
            self.ledger_unsaved = false;
        }
        Ok(())
    }

    /// A disk that is full must not hold up where packets go: services are told again after a start, the record only
    /// bridges the time until then.
    fn save_services(&mut self) {
        if !self.services_unsaved {
            return;
        }
        match self.records.save_services(&self.services) {
            Ok(()) => self.services_unsaved = false,
            Err(error) => tracing::warn!(%error, "the services could not be recorded; trying again later"),
        }
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
