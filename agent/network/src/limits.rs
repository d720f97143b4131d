//! Every bound of this package, in one place.

use std::time::Duration;

/// Requests to the network that wait behind the one being done.
pub const QUEUED_COMMANDS: usize = 256;
/// How often the rules, and those of a neighbouring firewall, are checked to be still there.
pub const AUDIT_PERIOD: Duration = Duration::from_secs(5);

/// How long a pod's new link may take to carry packets, and how often it is looked at meanwhile.
pub const LINK_UP: Duration = Duration::from_secs(5);
pub const LINK_POLL: Duration = Duration::from_millis(1);

/// Bytes of one list of set elements: a netlink attribute counts its length in 16 bits.
pub const ELEMENT_LIST_BYTES: usize = 32 * 1024;
/// How long the kernel may take to answer one netlink request; it answers at once unless it is very busy.
pub const NETLINK_TIMEOUT: Duration = Duration::from_secs(10);
/// Times a listing is repeated because the rules changed under it.
pub const DUMP_RETRIES: usize = 10;
/// Receive buffer for answers of the kernel.
pub const NETLINK_RECEIVE_BYTES: usize = 1 << 20;
/// Clients that one service port remembers for session affinity.
pub const AFFINITY_CLIENTS: u32 = 65_535;

/// Addresses one node may have for pods: 2^20, so that the offset fits in a link's name.
pub const LARGEST_POD_RANGE: u8 = 12;
/// A gateway, a pod, and the two ends.
pub const SMALLEST_POD_RANGE: u8 = 29;

/// Largest answer over UDP, as agreed on by DNS operators (flag day 2020): it passes without fragments.
pub const DNS_UDP_BYTES: u16 = 1232;
/// Largest answer to a client that does not speak EDNS, RFC 1035 §4.2.1.
pub const DNS_PLAIN_UDP_BYTES: u16 = 512;
/// Questions being asked upstream at once; above it clients hear SERVFAIL at once.
pub const DNS_FORWARDS: usize = 512;
/// DNS connections over TCP at once.
pub const DNS_CONNECTIONS: usize = 128;
/// How long a DNS connection over TCP may be silent.
pub const DNS_IDLE: Duration = Duration::from_secs(10);
/// How long one upstream server may take.
pub const DNS_UPSTREAM_TIMEOUT: Duration = Duration::from_secs(2);
/// Upstream servers tried for one question, as many as a resolv.conf may name.
pub const DNS_UPSTREAMS: usize = 3;
/// How long the host's list of name servers is trusted.
pub const DNS_RESOLV_CONF_AGE: Duration = Duration::from_secs(5);
/// Seconds that clients may keep an answer of ours.
pub const DNS_TTL_SECONDS: u32 = 5;
/// Addresses in one answer; a headless service may have thousands.
pub const DNS_ANSWERS: usize = 1000;

/// Search domains in a pod's resolv.conf, as Kubernetes validates (`MaxDNSSearchPaths`).
pub const SEARCH_DOMAINS: usize = 32;
/// Characters of them together (`MaxDNSSearchListChars`).
pub const SEARCH_CHARACTERS: usize = 2048;
