//! From a rule's statements to expressions. Registers: 0 up for what is matched or looked up, 8 up for what is found.

use super::constants::*;
use super::expressions::{Expressions, SetName};
use crate::Protocol;
use crate::rules::{Field, Match, Refusal, Statement, Target, Verdict};
use ipnet::Ipv4Net;

const FOUND: u32 = 8;
/// Lengths and offsets in the IPv4 header (RFC 791).
const SOURCE_ADDRESS: u32 = 12;
const DESTINATION_ADDRESS: u32 = 16;
const ADDRESS_BYTES: u32 = 4;

/// A set without a name of its own that a statement needs: made before the rule, gone with it.
#[derive(Debug, PartialEq, Eq)]
pub enum Anonymous<'a> {
    /// Number → target.
    Choice(&'a [Target]),
    /// Membership of targets.
    Targets(&'a [Target]),
}

/// The anonymous sets a statement needs, in the order that [`statement`] takes their numbers.
pub fn anonymous(statement: &Statement) -> Option<Anonymous<'_>> {
    match statement {
        Statement::Balance(targets) | Statement::BalanceSticky { targets, .. } if targets.len() > 1 => {
            Some(Anonymous::Choice(targets))
        }
        Statement::Stick { targets, .. } => Some(Anonymous::Targets(targets)),
        _ => None,
    }
}

/// Appends the expressions of one statement; `set` is the anonymous set it asked for.
pub fn statement(statement: &Statement, set: Option<SetName<'_>>, out: &mut Expressions<'_, '_>) {
    match statement {
        Statement::Match(condition) => match_packet(condition, out),
        Statement::VerdictMap { fields, map } => {
            load(fields, out);
            out.lookup_verdict(&SetName { name: map, id: None }, 0);
        }
        Statement::Verdict(verdict) => {
            let (code, chain) = verdict_code(verdict);
            out.verdict(code, chain);
        }
        Statement::Balance(targets) => {
            choose(targets, set, out);
            out.nat(NAT_DNAT, FOUND, Some(FOUND + 1));
        }
        Statement::Stick { map, .. } => {
            load(&[Field::SourceAddress], out);
            out.lookup(&SetName { name: map, id: None }, 0, Some(FOUND));
            if let Some(targets) = set {
                out.lookup(&targets, FOUND, None);
            }
            out.update(map, 0, FOUND);
            out.nat(NAT_DNAT, FOUND, Some(FOUND + 1));
        }
        Statement::BalanceSticky { map, targets } => {
            choose(targets, set, out);
            load(&[Field::SourceAddress], out);
            // An endpoint that is gone may be remembered still.
            out.forget(map, 0, FOUND);
            out.update(map, 0, FOUND);
            out.nat(NAT_DNAT, FOUND, Some(FOUND + 1));
        }
        Statement::SourceNat(address) => {
            out.immediate(FOUND, &address.octets());
            out.nat(NAT_SNAT, FOUND, None);
        }
        Statement::Masquerade => out.masquerade(),
        Statement::Reject(Refusal::TcpReset) => out.reject(REJECT_TCP_RST, 0),
        Statement::Reject(Refusal::PortUnreachable) => out.reject(REJECT_ICMP_UNREACH, ICMP_PORT_UNREACH),
    }
}

/// A target, address and port, into the registers from `FOUND` on.
fn choose(targets: &[Target], set: Option<SetName<'_>>, out: &mut Expressions<'_, '_>) {
    match (set, targets.first()) {
        (Some(set), _) => {
            out.random(0, targets.len() as u32);
            out.lookup(&set, 0, Some(FOUND));
        }
        (None, Some(only)) => {
            out.immediate(FOUND, &only.address.octets());
            out.immediate(FOUND + 1, &only.port.to_be_bytes());
        }
        (None, None) => {}
    }
}

/// As the kernel keeps an address and a port side by side: each from the start of its own four bytes.
pub fn target_bytes(target: &Target) -> [u8; 8] {
    let [a, b, c, d] = target.address.octets();
    let [high, low] = target.port.to_be_bytes();
    [a, b, c, d, high, low, 0, 0]
}

pub fn verdict_code(verdict: &Verdict) -> (i32, Option<&str>) {
    match verdict {
        Verdict::Accept => (verdict::ACCEPT, None),
        Verdict::Drop => (verdict::DROP, None),
        Verdict::Jump(chain) => (verdict::JUMP, Some(chain)),
        Verdict::Goto(chain) => (verdict::GOTO, Some(chain)),
    }
}

pub fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

fn match_packet(condition: &Match, out: &mut Expressions<'_, '_>) {
    match condition {
        Match::Source { net, inside } => match_net(SOURCE_ADDRESS, net, *inside, out),
        Match::Destination { net, inside } => match_net(DESTINATION_ADDRESS, net, *inside, out),
        Match::SourceLocal | Match::DestinationLocal => {
            out.address_type(0, if *condition == Match::SourceLocal { FIB_SADDR } else { FIB_DADDR });
            out.compare(0, CMP_EQ, &RTN_LOCAL.to_ne_bytes());
        }
        Match::InGroup(group) => match_meta(META_IIFGROUP, &group.to_ne_bytes(), out),
        Match::OutGroup(group) => match_meta(META_OIFGROUP, &group.to_ne_bytes(), out),
        Match::Protocol(protocol) => match_meta(META_L4PROTO, &[protocol_number(*protocol)], out),
        Match::IcmpRedirect => {
            match_meta(META_L4PROTO, &[1], out);
            out.payload(0, PAYLOAD_TRANSPORT, 0, 1);
            out.compare(0, CMP_EQ, &[ICMP_REDIRECT]);
        }
        Match::Invalid => match_state(CT_STATE_INVALID, out),
        Match::Established => match_state(CT_STATE_ESTABLISHED | CT_STATE_RELATED, out),
        Match::Member { fields, set } => {
            load(fields, out);
            out.lookup(&SetName { name: set, id: None }, 0, None);
        }
    }
}

fn match_net(offset: u32, net: &Ipv4Net, inside: bool, out: &mut Expressions<'_, '_>) {
    out.payload(0, PAYLOAD_NETWORK, offset, ADDRESS_BYTES);
    if net.prefix_len() < 32 {
        out.mask(0, &net.netmask().octets());
    }
    out.compare(0, if inside { CMP_EQ } else { CMP_NEQ }, &net.network().octets());
}

fn match_meta(key: u32, value: &[u8], out: &mut Expressions<'_, '_>) {
    out.meta(0, key);
    out.compare(0, CMP_EQ, value);
}

fn match_state(bits: u32, out: &mut Expressions<'_, '_>) {
    out.conntrack(0, CT_STATE);
    out.mask(0, &bits.to_ne_bytes());
    out.compare(0, CMP_NEQ, &[0; 4]);
}

/// Loads the fields into registers 0, 1, …, as a concatenated key wants them.
fn load(fields: &[Field], out: &mut Expressions<'_, '_>) {
    for (register, field) in (0..).zip(fields) {
        match field {
            Field::SourceAddress => out.payload(register, PAYLOAD_NETWORK, SOURCE_ADDRESS, ADDRESS_BYTES),
            Field::DestinationAddress => out.payload(register, PAYLOAD_NETWORK, DESTINATION_ADDRESS, ADDRESS_BYTES),
            Field::Protocol => out.meta(register, META_L4PROTO),
            Field::DestinationPort => out.payload(register, PAYLOAD_TRANSPORT, 2, 2),
        }
    }
}
