//! The rules as data: one nf_tables table with its sets, chains and rules, limited to what services need.

use crate::Protocol;
use ipnet::Ipv4Net;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Everything in one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    pub table: String,
    /// Kept with the table by the kernel, for people and for other nodes on the same host.
    pub comment: String,
    pub sets: BTreeMap<String, Set>,
    pub chains: BTreeMap<String, Chain>,
}

/// A set of keys, each perhaps with data (then `nft` calls it a map).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    pub key: KeyKind,
    pub data: SetData,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetData {
    /// Only membership.
    Members(std::collections::BTreeSet<Key>),
    /// Where a packet goes on.
    Verdicts(BTreeMap<Key, Verdict>),
    /// Filled by packets: which endpoint a client is bound to, and for how long.
    Affinity { timeout_seconds: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    Address,
    AddressPair,
    AddressPort,
    Port,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    AddressPair(Ipv4Addr, Ipv4Addr),
    AddressPort(Ipv4Addr, Protocol, u16),
    Port(Protocol, u16),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// `None`: other chains send packets here.
    pub hook: Option<Hook>,
    pub rules: Vec<Rule>,
}

/// Where the kernel lets packets enter a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    pub kind: ChainKind,
    /// `NF_INET_*` of `linux/netfilter.h`: 0 prerouting, 1 input, 2 forward, 3 output, 4 postrouting.
    pub number: u32,
    pub priority: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainKind {
    Filter,
    Nat,
}

/// Statements in order; the first match that fails ends the rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule(pub Vec<Statement>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    Match(Match),
    /// Looks the fields up and follows the verdict, if there is one.
    VerdictMap {
        fields: &'static [Field],
        map: String,
    },
    Verdict(Verdict),
    /// To one of these, by chance, each connection anew.
    Balance(Vec<Target>),
    /// To the endpoint this client was sent to before, if it is still one of these. Renews the time.
    Stick {
        map: String,
        targets: Vec<Target>,
    },
    /// As `Balance`, and remembers the choice for `Stick`.
    BalanceSticky {
        map: String,
        targets: Vec<Target>,
    },
    SourceNat(Ipv4Addr),
    /// Source NAT to the address of the link that the packet leaves by.
    Masquerade,
    Reject(Refusal),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    Source {
        net: Ipv4Net,
        inside: bool,
    },
    Destination {
        net: Ipv4Net,
        inside: bool,
    },
    /// The address is one of the host's own.
    SourceLocal,
    DestinationLocal,
    InGroup(u32),
    OutGroup(u32),
    Protocol(Protocol),
    IcmpRedirect,
    /// Connection tracking cannot make sense of the packet.
    Invalid,
    /// Part of a connection that was let through before.
    Established,
    Member {
        fields: &'static [Field],
        set: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    SourceAddress,
    DestinationAddress,
    Protocol,
    DestinationPort,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Drop,
    Jump(String),
    Goto(String),
}

/// One endpoint as a packet's new destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    pub address: Ipv4Addr,
    pub port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    TcpReset,
    PortUnreachable,
}

impl Chain {
    pub fn of(rules: Vec<Rule>) -> Self {
        Self { hook: None, rules }
    }

    pub fn at(kind: ChainKind, number: u32, priority: i32, rules: Vec<Rule>) -> Self {
        Self { hook: Some(Hook { kind, number, priority }), rules }
    }
}

impl Set {
    pub fn verdicts(key: KeyKind, verdicts: BTreeMap<Key, Verdict>) -> Self {
        Self { key, data: SetData::Verdicts(verdicts) }
    }
}

impl Rule {
    pub fn of(statements: impl IntoIterator<Item = Statement>) -> Self {
        Self(statements.into_iter().collect())
    }
}

impl From<Match> for Statement {
    fn from(condition: Match) -> Self {
        Statement::Match(condition)
    }
}

impl From<Verdict> for Statement {
    fn from(verdict: Verdict) -> Self {
        Statement::Verdict(verdict)
    }
}
