//! What the network of a node is, and each thing that can be asked of it: decided purely elsewhere, done here. Owned by
//! one task, so requests are done one after the other.

use crate::claim::Claim;
use crate::ipam::{self, Ledger};
use crate::links::Links;
use crate::nft::{self, Socket};
use crate::record::Records;
use crate::rules::{self, Ruleset, State};
use crate::{Config, NetworkError, PodLink, Service, Services, conntrack, dns, neighbours, sysctl};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::sync::Arc;

const FORWARDING: &str = "ipv4/ip_forward";

pub struct Node {
    config: Arc<Config>,
    gateway: Ipv4Addr,
    links: Links,
    nft: Arc<Socket>,
    records: Records,
    ledger: Ledger,
    services: Arc<Services>,
    claim: Claim,
    /// What the kernel holds.
    applied: Ruleset,
    dns: dns::Server,
}

impl Node {
    /// Makes what is missing and takes over what an earlier process left; services are the last ones it was told.
    pub async fn start(config: Config) -> Result<Self, NetworkError> {
        ipam::validate(&config)?;
        let config = Arc::new(config);
        let gateway = rules::gateway(&config);
        let links = Links::open()?;
        let nft = Arc::new(open_nft()?);
        let records = Records::open(&config.state_dir)?;
        let ledger = records.ledger(config.pod_range, links.has_node(&config.id).await?)?;
        let services = Arc::new(records.services());
        let claim = Claim::of(&config, forwarding_was_off(&nft)?);
        links.ensure_node(&config, gateway).await?;
        sysctl::set(FORWARDING, "1")?;
        let dns = dns::Server::start(&config, gateway, services.clone()).await?;
        let applied = Ruleset::default();
        let mut node = Self { config, gateway, links, nft, records, ledger, services, claim, applied, dns };
        node.apply().await?;
        node.accept().await?;
        Ok(node)
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
        }
        Ok(address)
    }

    pub async fn detach(&mut self, id: &str) -> Result<(), NetworkError> {
        let Some(holding) = self.ledger.get(id).cloned() else { return Ok(()) };
        self.links.remove_pod(&self.config, holding.address).await?;
        self.ledger.release(id);
        self.records.save_ledger(&self.ledger)?;
        if !holding.host_ports.is_empty() {
            self.apply().await?;
        }
        Ok(())
    }

    pub async fn set_services(&mut self, services: Services) -> Result<(), NetworkError> {
        validate(&services)?;
        if *self.services == services && self.applied != Ruleset::default() {
            return Ok(());
        }
        self.records.save_services(&services)?;
        let before = std::mem::replace(&mut self.services, Arc::new(services));
        self.dns.set_services(self.services.clone());
        self.apply().await?;
        let stale = conntrack::stale(&before, &self.services);
        if !stale.is_empty() {
            blocking(move || conntrack::forget(&stale)).await?;
        }
        self.accept().await
    }

    pub fn attached(&self) -> Vec<String> {
        self.ledger.ids().cloned().collect()
    }

    /// Puts back what others took away: another program may flush every table, or rewrite its own.
    pub async fn audit(&mut self) -> Result<(), NetworkError> {
        let (nft, name) = (self.nft.clone(), self.applied.table.clone());
        let there = blocking(move || Ok(nft.tables()?.iter().any(|table| table.name == name))).await?;
        if !there {
            tracing::warn!(table = self.applied.table, "the rules are gone: putting them back");
            self.applied = Ruleset::default();
            self.apply().await?;
        }
        sysctl::set(FORWARDING, "1")?;
        self.accept().await
    }

    pub async fn teardown(self) -> Result<(), NetworkError> {
        self.dns.stop().await;
        take_down(&self.config.id, &self.links, self.nft.clone()).await?;
        self.records.remove()
    }

    /// Makes the kernel hold what follows from services and host ports, all at once.
    async fn apply(&mut self) -> Result<(), NetworkError> {
        let (config, services, nft) = (self.config.clone(), self.services.clone(), self.nft.clone());
        let (host_ports, comment) = (self.ledger.host_ports(), self.claim.to_string());
        // Should it fail, nothing is known, and the next time starts from an empty table.
        let old = std::mem::take(&mut self.applied);
        self.applied = blocking(move || {
            let state = State { config: &config, services: &services, host_ports: &host_ports, comment: &comment };
            let new = rules::render(state);
            let batch = if old == Ruleset::default() { nft::replace_table(&new) } else { nft::change(&old, &new) };
            nft.commit(batch)?;
            Ok(new)
        })
        .await?;
        Ok(())
    }

    async fn accept(&self) -> Result<(), NetworkError> {
        let (nft, config) = (self.nft.clone(), self.config.clone());
        blocking(move || neighbours::ensure_accepted(&nft, &config.id, config.cluster_range)).await
    }
}

/// Removes everything of a node from the kernel; needs nothing but its id.
pub async fn teardown_leftovers(id: &str) -> Result<(), NetworkError> {
    take_down(id, &Links::open()?, Arc::new(open_nft()?)).await
}

async fn take_down(id: &str, links: &Links, nft: Arc<Socket>) -> Result<(), NetworkError> {
    let owned = id.to_owned();
    // Pods first: none must be able to send while the rules that hold it are gone.
    links.remove_node(id).await?;
    blocking(move || {
        neighbours::withdraw(&nft, &owned)?;
        let ours = rules::table_name(&owned);
        let tables = nft.tables()?;
        let Some(mine) = tables.iter().find(|table| table.name == ours) else { return Ok(()) };
        let mut batch = nft::Batch::new();
        batch.delete_table(&ours);
        nft.commit(batch)?;
        let others = tables.iter().filter(|table| table.name != ours && Claim::parse(&table.comment).is_some()).count();
        let restore = Claim::parse(&mine.comment).is_some_and(|claim| claim.forwarding_was_off);
        if restore && others == 0 { sysctl::set(FORWARDING, "0") } else { Ok(()) }
    })
    .await
}

/// Ranges that this host uses, or that a node's network on it has claimed.
pub async fn used_ranges() -> Result<Vec<Ipv4Net>, NetworkError> {
    let mut ranges = Links::open()?.used_ranges().await?;
    let tables = blocking(|| open_nft()?.tables()).await?;
    for claim in tables.iter().filter_map(|table| Claim::parse(&table.comment)) {
        ranges.extend([claim.cluster_range, claim.service_range]);
    }
    ranges.sort();
    ranges.dedup();
    Ok(ranges)
}

/// Forwarding is off now, or another node (or an earlier process of this one) found it off.
fn forwarding_was_off(nft: &Socket) -> Result<bool, NetworkError> {
    let claims = nft.tables()?.into_iter().filter_map(|table| Claim::parse(&table.comment));
    Ok(claims.into_iter().any(|claim| claim.forwarding_was_off) || sysctl::get(FORWARDING)? == "0")
}

fn open_nft() -> Result<Socket, NetworkError> {
    Socket::open().map_err(|error| NetworkError::Host {
        what: format!("no access to the kernel's packet rules: {error}"),
        fix: "run as root on a kernel with nf_tables".into(),
    })
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

/// Runs what may keep a thread for a while: the kernel commits rules only after all packets have left the old ones.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NetworkError> + Send + 'static,
) -> Result<T, NetworkError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| NetworkError::Io { doing: "changing the network".into(), why: error.to_string() })?
}
