//! Living beside another firewall. In nf_tables a packet must be accepted by every table, so where Docker, ufw or
//! an administrator drop what is forwarded, our own rules cannot overrule them: a rule must stand in their chain. It is
//! put before the others, marked as ours, put back when they rewrite their chain, and taken away in the end.
//!
//! Only tables made through nf_tables are seen: the legacy iptables interface keeps its rules apart, and all that can be
//! done about those is to say so.

use crate::NetworkError;
use crate::nft::{Batch, ForeignChain, ForeignRule, Socket};
use crate::rules::{Match, Rule, Verdict};
use ipnet::Ipv4Net;

/// The table of `iptables`, whoever drives it.
const TABLE: &str = "filter";
/// Where Docker leaves room for others' rules.
const DOCKER_USER: &str = "DOCKER-USER";
const FORWARD: &str = "FORWARD";

/// What to do to the neighbour's table.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    insert: Option<String>,
    remove: Vec<(String, u64)>,
}

/// Makes sure that the neighbour lets our pods' traffic through. `pods` is the cluster's range.
pub fn ensure_accepted(socket: &Socket, id: &str, pods: Ipv4Net) -> Result<(), NetworkError> {
    let (chains, ours) = look(socket, id)?;
    let Plan { insert, remove } = plan(&chains, &ours);
    let mut batch = Batch::new();
    for (chain, handle) in remove {
        batch.delete_foreign(TABLE, &chain, handle);
    }
    if let Some(chain) = insert {
        tracing::info!(chain, "another firewall drops forwarded packets: inserting rules for pods");
        for rule in rules(pods) {
            batch.insert_foreign(TABLE, &chain, &rule, &mark(id));
        }
    }
    socket.commit(batch)
}

/// Tells whoever reads the log that there are rules which only the legacy interface can see and change.
pub fn warn_of_legacy() {
    // Not there where the kernel has no legacy interface, or nobody used it.
    let tables = std::fs::read_to_string("/proc/thread-self/net/ip_tables_names").unwrap_or_default();
    if tables.lines().any(|table| table == TABLE) {
        tracing::warn!(
            "legacy iptables rules are in use, which cannot be seen from here; if they drop forwarded packets, pods reach \
             nobody: switch that firewall to iptables-nft, or accept the cluster's range in its FORWARD chain"
        );
    }
}

/// Takes our rules out of the neighbour's table.
pub fn withdraw(socket: &Socket, id: &str) -> Result<(), NetworkError> {
    let (_, ours) = look(socket, id)?;
    let mut batch = Batch::new();
    for (chain, rule) in ours {
        batch.delete_foreign(TABLE, &chain, rule.handle);
    }
    socket.commit(batch)
}

type Marked = (String, ForeignRule);

/// The neighbour's chains, and our rules in them.
fn look(socket: &Socket, id: &str) -> Result<(Vec<ForeignChain>, Vec<Marked>), NetworkError> {
    let mut ours = Vec::new();
    // A look at the tables is cheap; the chains of a large set of services are not.
    if !socket.tables()?.iter().any(|table| table.name == TABLE) {
        return Ok((Vec::new(), ours));
    }
    let chains = socket.chains(TABLE)?;
    for chain in chains.iter().filter(|chain| [DOCKER_USER, FORWARD].contains(&chain.name.as_str())) {
        let rules = socket.rules(TABLE, &chain.name)?.into_iter().filter(|rule| rule.comment == mark(id));
        ours.extend(rules.map(|rule| (chain.name.clone(), rule)));
    }
    Ok((chains, ours))
}

/// Our rules stand in one chain, all of them, or are put there anew.
fn plan(chains: &[ForeignChain], ours: &[Marked]) -> Plan {
    let named = |name: &str| chains.iter().find(|chain| chain.name == name);
    let target = match (named(DOCKER_USER), named(FORWARD)) {
        (Some(_), Some(_)) => Some(DOCKER_USER),
        (None, Some(forward)) if forward.policy_drop => Some(FORWARD),
        _ => None,
    };
    let stay = target.is_some_and(|target| ours.len() == RULES && ours.iter().all(|(chain, _)| chain == target));
    if stay {
        return Plan::default();
    }
    let remove = ours.iter().map(|(chain, rule)| (chain.clone(), rule.handle)).collect();
    Plan { insert: target.map(str::to_owned), remove }
}

const RULES: usize = 2;

fn rules(pods: Ipv4Net) -> [Rule; RULES] {
    [Match::Source { net: pods, inside: true }, Match::Destination { net: pods, inside: true }]
        .map(|ours| Rule::of([ours.into(), Verdict::Accept.into()]))
}

fn mark(id: &str) -> String {
    format!("coracle-{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(name: &str, policy_drop: bool) -> ForeignChain {
        ForeignChain { name: name.into(), policy_drop }
    }

    fn marked(chain: &str, handle: u64) -> Marked {
        (chain.into(), ForeignRule { handle, comment: "coracle-x".into() })
    }

    #[test]
    fn rules_stand_where_the_neighbour_would_drop() {
        let docker = [chain(FORWARD, true), chain(DOCKER_USER, false)];
        let ufw = [chain(FORWARD, true)];
        let open = [chain(FORWARD, false)];
        let there = [marked(DOCKER_USER, 7), marked(DOCKER_USER, 8)];
        let insert = |name: &str| Plan { insert: Some(name.into()), remove: vec![] };
        assert_eq!(plan(&docker, &[]), insert(DOCKER_USER));
        assert_eq!(plan(&ufw, &[]), insert(FORWARD));
        assert_eq!(plan(&open, &[]), Plan::default());
        assert_eq!(plan(&[], &[]), Plan::default());
        assert_eq!(plan(&docker, &there), Plan::default());
        // One of the two was deleted: both are put anew.
        let half = Plan { insert: Some(DOCKER_USER.into()), remove: vec![(DOCKER_USER.into(), 7)] };
        assert_eq!(plan(&docker, &there[..1]), half);
        // Docker came after us.
        let moved = Plan { insert: Some(DOCKER_USER.into()), remove: vec![(FORWARD.into(), 1), (FORWARD.into(), 2)] };
        assert_eq!(plan(&docker, &[marked(FORWARD, 1), marked(FORWARD, 2)]), moved);
        // The policy was opened: nothing of ours need stand there.
        let out = Plan { insert: None, remove: vec![(FORWARD.into(), 1), (FORWARD.into(), 2)] };
        assert_eq!(plan(&open, &[marked(FORWARD, 1), marked(FORWARD, 2)]), out);
    }
}
