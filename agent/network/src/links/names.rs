//! Names and link addresses, computed.

use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// The link that carries the node's own address on the pod network.
pub fn bridge_name(id: &str) -> String {
    format!("cor-{id}")
}

/// The host's end of a pod's pair: the pod's place in the range, then the node's id; at most 15 bytes.
pub fn pod_link_name(id: &str, range: Ipv4Net, address: Ipv4Addr) -> String {
    let place = u32::from(address) - u32::from(range.network());
    format!("v{place:x}-{id}")
}

/// Whether a link is one that [`pod_link_name`] named for this node.
pub fn is_pod_link(id: &str, link: &str) -> bool {
    let place = link.strip_prefix('v').and_then(|rest| rest.strip_suffix(id)).and_then(|rest| rest.strip_suffix('-'));
    place.is_some_and(|place| !place.is_empty() && place.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The link address of the pod's end: locally administered, with the pod's address in it.
pub fn pod_mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x0a, 0x58, a, b, c, d]
}

/// Of the host's end, likewise.
pub fn host_mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x0e, 0x58, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_name_fits_and_tells_its_node() {
        let range: Ipv4Net = "10.0.0.0/12".parse().expect("a range");
        let name = pod_link_name("abcdefgh", range, Ipv4Addr::new(10, 15, 255, 254));
        assert_eq!(name, "vffffe-abcdefgh");
        assert!(name.len() <= 15);
        assert!(is_pod_link("abcdefgh", &name));
        for other in ["v-abcdefgh", "vxyz-abcdefgh", "v2-abcdefg", "cor-abcdefgh", "v2abcdefgh", "eth0"] {
            assert!(!is_pod_link("abcdefgh", other), "{other}");
        }
    }
}
