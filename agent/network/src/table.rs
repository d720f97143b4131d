//! The node's table in the kernel: what it holds, made to follow from services and host ports; and the one switch beside
//! it, forwarding, which it remembers to switch back.

use crate::claim::Claim;
use crate::nft::{self, Socket};
use crate::rules::{self, HostPortBinding, Ruleset, State};
use crate::{Config, NetworkError, Services, neighbours, sysctl};
use std::sync::Arc;

const FORWARDING: &str = "ipv4/ip_forward";

pub struct Table {
    config: Arc<Config>,
    nft: Arc<Socket>,
    claim: Claim,
    /// What the kernel holds; `None` where that is not known.
    applied: Option<Ruleset>,
}

impl Table {
    pub fn open(config: Arc<Config>) -> Result<Self, NetworkError> {
        let nft = Arc::new(open_nft()?);
        neighbours::warn_of_legacy();
        // Forwarding is off now, or another node (or an earlier process of this one) found it off.
        let mut claims = nft.tables()?.into_iter().filter_map(|table| Claim::parse(&table.comment));
        let was_off = claims.any(|claim| claim.forwarding_was_off) || sysctl::get(FORWARDING)? == "0";
        Ok(Self { claim: Claim::of(&config, was_off), config, nft, applied: None })
    }

    /// Makes the kernel hold what follows, all at once; nothing is sent where it does already.
    pub async fn apply(
        &mut self,
        services: Arc<Services>,
        host_ports: Vec<HostPortBinding>,
    ) -> Result<(), NetworkError> {
        let (config, nft, comment) = (self.config.clone(), self.nft.clone(), self.claim.to_string());
        // Should it fail, nothing is known, and the next time starts from an empty table.
        let old = self.applied.take();
        let applied = blocking(move || {
            let state = State { config: &config, services: &services, host_ports: &host_ports, comment: &comment };
            let new = rules::render(state);
            let batch = match &old {
                None => nft::replace_table(&new),
                Some(old) => nft::change(old, &new),
            };
            nft.commit(batch)?;
            Ok(new)
        });
        self.applied = Some(applied.await?);
        Ok(())
    }

    /// Lets packets pass from link to link: through this host, and through a neighbouring firewall.
    pub async fn open_ways(&self) -> Result<(), NetworkError> {
        sysctl::set(FORWARDING, "1")?;
        let (nft, config) = (self.nft.clone(), self.config.clone());
        blocking(move || neighbours::ensure_accepted(&nft, &config.id, config.cluster_range)).await
    }

    /// Whether the kernel holds what was put there last, as far as the table's being there tells.
    pub async fn is_there(&mut self) -> Result<bool, NetworkError> {
        let (nft, name) = (self.nft.clone(), rules::table_name(&self.config.id));
        let there = blocking(move || Ok(nft.tables()?.iter().any(|table| table.name == name))).await?;
        if !there {
            self.applied = None;
        }
        Ok(self.applied.is_some())
    }
}

/// Removes a node's table, takes its rules out of the neighbour's, and switches forwarding off if it was found off and no
/// other node is left.
pub async fn remove(id: &str) -> Result<(), NetworkError> {
    let (id, ours) = (id.to_owned(), rules::table_name(id));
    blocking(move || {
        let nft = open_nft()?;
        neighbours::withdraw(&nft, &id)?;
        let tables = nft.tables()?;
        let Some(mine) = tables.iter().find(|table| table.name == ours) else { return Ok(()) };
        let mut batch = nft::Batch::new();
        batch.delete_table(&ours);
        nft.commit(batch)?;
        let is_other = |table: &&nft::Table| table.name != ours && Claim::parse(&table.comment).is_some();
        let was_off = Claim::parse(&mine.comment).is_some_and(|claim| claim.forwarding_was_off);
        if was_off && !tables.iter().any(|table| is_other(&table)) { sysctl::set(FORWARDING, "0") } else { Ok(()) }
    })
    .await
}

/// What all nodes on this host claim.
pub async fn claims() -> Result<Vec<Claim>, NetworkError> {
    let tables = blocking(|| open_nft()?.tables()).await?;
    Ok(tables.iter().filter_map(|table| Claim::parse(&table.comment)).collect())
}

fn open_nft() -> Result<Socket, NetworkError> {
    Socket::open().map_err(|error| NetworkError::Host {
        what: format!("no access to the kernel's packet rules: {error}"),
        fix: "run as root on a kernel with nf_tables".into(),
    })
}

/// Runs what may keep a thread for a while: the kernel commits rules only after all packets have left the old ones.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NetworkError> + Send + 'static,
) -> Result<T, NetworkError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| NetworkError::Io { doing: "changing the network".into(), why: error.to_string() })?
}
