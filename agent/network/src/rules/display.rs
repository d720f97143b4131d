//! Rules as text, for people and for tests: close to what `nft list table` prints of them.

use super::ruleset::*;
use crate::Protocol;
use std::fmt::{Display, Formatter, Result, Write};

impl Display for Ruleset {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "table ip {} {{", self.table)?;
        if !self.comment.is_empty() {
            writeln!(f, "\tcomment {:?}", self.comment)?;
        }
        for (name, set) in &self.sets {
            write_set(f, name, set)?;
        }
        for (name, chain) in &self.chains {
            writeln!(f, "\tchain {name} {{")?;
            if let Some(hook) = chain.hook {
                writeln!(f, "\t\t{hook}")?;
            }
            for rule in &chain.rules {
                writeln!(f, "\t\t{rule}")?;
            }
            writeln!(f, "\t}}")?;
        }
        writeln!(f, "}}")
    }
}

fn write_set(f: &mut Formatter<'_>, name: &str, set: &Set) -> Result {
    match &set.data {
        SetData::Members(members) => {
            writeln!(f, "\tset {name} {{ type {};", set.key)?;
            members.iter().try_for_each(|key| writeln!(f, "\t\t{key}"))?;
        }
        SetData::Verdicts(verdicts) => {
            writeln!(f, "\tmap {name} {{ type {} : verdict;", set.key)?;
            verdicts.iter().try_for_each(|(key, verdict)| writeln!(f, "\t\t{key} : {verdict}"))?;
        }
        SetData::Affinity { timeout_seconds } => writeln!(
            f,
            "\tmap {name} {{ type {} : ipv4_addr . inet_service; flags dynamic,timeout; timeout {timeout_seconds}s",
            set.key
        )?,
    }
    writeln!(f, "\t}}")
}

impl Display for KeyKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            KeyKind::Address => "ipv4_addr",
            KeyKind::AddressPair => "ipv4_addr . ipv4_addr",
            KeyKind::AddressPort => "ipv4_addr . inet_proto . inet_service",
            KeyKind::Port => "inet_proto . inet_service",
        })
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Key::AddressPair(source, destination) => write!(f, "{source} . {destination}"),
            Key::AddressPort(address, protocol, port) => write!(f, "{address} . {} . {port}", name(*protocol)),
            Key::Port(protocol, port) => write!(f, "{} . {port}", name(*protocol)),
        }
    }
}

impl Display for Hook {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let kind = match self.kind {
            ChainKind::Filter => "filter",
            ChainKind::Nat => "nat",
        };
        let hook =
            ["prerouting", "input", "forward", "output", "postrouting"].get(self.number as usize).unwrap_or(&"?");
        write!(f, "type {kind} hook {hook} priority {};", self.priority)
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for (index, statement) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_char(' ')?;
            }
            write!(f, "{statement}")?;
        }
        Ok(())
    }
}

impl Display for Statement {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Statement::Match(condition) => write!(f, "{condition}"),
            Statement::VerdictMap { fields, map } => write!(f, "{} vmap @{map}", Fields(fields)),
            Statement::Verdict(verdict) => write!(f, "{verdict}"),
            Statement::Balance(targets) => write!(f, "dnat to {}", Choice(targets)),
            Statement::Stick { map, targets } => {
                write!(f, "dnat to ip saddr map @{map} if one of {} update @{map}", Targets(targets))
            }
            Statement::BalanceSticky { map, targets } => write!(f, "dnat to {} update @{map}", Choice(targets)),
            Statement::SourceNat(address) => write!(f, "snat to {address}"),
            Statement::Masquerade => f.write_str("masquerade fully-random"),
            Statement::Reject(Refusal::TcpReset) => f.write_str("reject with tcp reset"),
            Statement::Reject(Refusal::PortUnreachable) => f.write_str("reject"),
        }
    }
}

impl Display for Match {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let not = |inside: &bool| if *inside { "" } else { "!= " };
        match self {
            Match::Source { net, inside } => write!(f, "ip saddr {}{net}", not(inside)),
            Match::Destination { net, inside } => write!(f, "ip daddr {}{net}", not(inside)),
            Match::SourceLocal => f.write_str("fib saddr type local"),
            Match::DestinationLocal => f.write_str("fib daddr type local"),
            Match::InGroup(group) => write!(f, "iifgroup {group}"),
            Match::OutGroup(group) => write!(f, "oifgroup {group}"),
            Match::Protocol(protocol) => write!(f, "meta l4proto {}", name(*protocol)),
            Match::IcmpRedirect => f.write_str("icmp type redirect"),
            Match::Invalid => f.write_str("ct state invalid"),
            Match::Established => f.write_str("ct state established,related"),
            Match::Member { fields, set } => write!(f, "{} @{set}", Fields(fields)),
        }
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Verdict::Accept => f.write_str("accept"),
            Verdict::Drop => f.write_str("drop"),
            Verdict::Jump(chain) => write!(f, "jump {chain}"),
            Verdict::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}:{}", self.address, self.port)
    }
}

struct Fields<'a>(&'a [Field]);

impl Display for Fields<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for (index, field) in self.0.iter().enumerate() {
            f.write_str(if index > 0 { " . " } else { "" })?;
            f.write_str(match field {
                Field::SourceAddress => "ip saddr",
                Field::DestinationAddress => "ip daddr",
                Field::Protocol => "meta l4proto",
                Field::DestinationPort => "th dport",
            })?;
        }
        Ok(())
    }
}

struct Targets<'a>(&'a [Target]);

impl Display for Targets<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str("{ ")?;
        for (index, target) in self.0.iter().enumerate() {
            write!(f, "{}{target}", if index > 0 { ", " } else { "" })?;
        }
        f.write_str(" }")
    }
}

struct Choice<'a>(&'a [Target]);

impl Display for Choice<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.0 {
            [only] => write!(f, "{only}"),
            several => write!(f, "numgen random mod {} map {}", several.len(), Targets(several)),
        }
    }
}

/// As `nft` and Kubernetes' chain names write a protocol.
pub(super) fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}
