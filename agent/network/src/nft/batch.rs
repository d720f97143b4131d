//! One transaction: messages between a begin and an end, each remembered by what it does, so that the kernel's
//! refusal can name it.

use super::attributes::Attributes;
use super::constants::*;
use netlink_packet_core::{Emitable, NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader};
use netlink_packet_netfilter::{NetfilterHeader, NetfilterProtoFamily};

const NETLINK_HEADER: usize = 16;
const NETFILTER_HEADER: usize = 4;

/// A transaction being written.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// What message number n + 1 does.
    doings: Vec<String>,
    last_message: usize,
    sets: u32,
}

impl Batch {
    pub fn new() -> Self {
        let mut batch = Self::default();
        batch.frame(NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, 0, NFPROTO_UNSPEC, |_| {});
        batch
    }

    pub fn is_empty(&self) -> bool {
        self.doings.is_empty()
    }

    /// A number that names a set within this transaction, before the kernel has given it a name.
    pub fn next_set_id(&mut self) -> u32 {
        self.sets += 1;
        self.sets
    }

    /// Adds one message on the tables of IPv4. `doing` is for people: `adding chain x`.
    pub fn message(&mut self, kind: u8, flags: u16, doing: String, fill: impl FnOnce(&mut Attributes<'_>)) {
        self.doings.push(doing);
        let sequence = u32::try_from(self.doings.len()).expect("a transaction is far below 2^32 messages");
        self.last_message = self.bytes.len();
        let kind = u16::from(NFNL_SUBSYS_NFTABLES) << 8 | u16::from(kind);
        self.frame(kind, NLM_F_REQUEST | flags, sequence, NFPROTO_IPV4, fill);
    }

    /// What message `sequence` does; the begin and the end stand for the transaction.
    pub fn doing(&self, sequence: u32) -> &str {
        let index = (sequence as usize).wrapping_sub(1);
        self.doings.get(index).map_or("committing the rules", String::as_str)
    }

    /// The finished bytes and the number of the message whose acknowledgement comes last.
    pub fn finish(&mut self) -> (&[u8], u32) {
        let flags = self.last_message + 6..self.last_message + 8;
        let asked = u16::from_ne_bytes([self.bytes[flags.start], self.bytes[flags.start + 1]]) | NLM_F_ACK;
        self.bytes[flags].copy_from_slice(&asked.to_ne_bytes());
        let last = u32::try_from(self.doings.len()).expect("a transaction is far below 2^32 messages");
        self.frame(NFNL_MSG_BATCH_END, NLM_F_REQUEST, last + 1, NFPROTO_UNSPEC, |_| {});
        (&self.bytes, last)
    }

    fn frame(&mut self, kind: u16, flags: u16, sequence: u32, family: u8, fill: impl FnOnce(&mut Attributes<'_>)) {
        let resource = if kind < 0x100 { u16::from(NFNL_SUBSYS_NFTABLES) } else { 0 };
        frame(&mut self.bytes, kind, flags, sequence, (family, resource), fill);
    }
}

/// Appends one nfnetlink message; `family` and the resource id make its second header.
pub fn frame(
    buffer: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    sequence: u32,
    (family, resource): (u8, u16),
    fill: impl FnOnce(&mut Attributes<'_>),
) {
    let start = buffer.len();
    buffer.resize(start + NETLINK_HEADER + NETFILTER_HEADER, 0);
    fill(&mut Attributes(buffer));
    let mut header = NetlinkHeader::default();
    header.length = u32::try_from(buffer.len() - start).expect("a message is far below 4 GiB");
    header.message_type = kind;
    header.flags = flags;
    header.sequence_number = sequence;
    header.emit(&mut buffer[start..start + NETLINK_HEADER]);
    NetfilterHeader::new(NetfilterProtoFamily::from(family), 0, resource)
        .emit(&mut buffer[start + NETLINK_HEADER..start + NETLINK_HEADER + NETFILTER_HEADER]);
}
