//! `resolv.conf`: the host's, read; a pod's, written.

use crate::Config;
use crate::limits::{DNS_UPSTREAMS, SEARCH_CHARACTERS, SEARCH_DOMAINS};
use std::fmt::Write;
use std::net::IpAddr;

/// What of the host's file matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostResolver {
    pub servers: Vec<IpAddr>,
    pub search: Vec<String>,
}

/// Reads the text of a `resolv.conf` (resolv.conf(5)): of several search lines the last counts.
pub fn parse(text: &str) -> HostResolver {
    let mut found = HostResolver::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => found.servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok())),
            Some("search" | "domain") => {
                found.search = words.map(|domain| domain.trim_end_matches('.').to_owned()).collect();
                found.search.retain(|domain| !domain.is_empty());
            }
            _ => {}
        }
    }
    found.servers.truncate(DNS_UPSTREAMS);
    found
}

/// The host's search domains, for [`resolv_conf`]; none if it has no such file.
pub fn host_search_domains() -> Vec<String> {
    std::fs::read_to_string(HOST_FILE).map(|text| parse(&text).search).unwrap_or_default()
}

pub(super) const HOST_FILE: &str = "/etc/resolv.conf";

/// The file for a pod with `dnsPolicy: ClusterFirst`, as Kubernetes documents it: the cluster's names first, then the
/// host's search domains, and `ndots:5`.
pub fn resolv_conf(namespace: &str, config: &Config, host_search: &[String]) -> String {
    let domain = config.cluster_domain.trim_end_matches('.');
    let own = [format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()];
    let mut search: Vec<&str> = Vec::new();
    let mut characters = 0;
    for name in own.iter().chain(host_search) {
        let more = characters + name.len() + 1;
        if search.contains(&name.as_str()) || more > SEARCH_CHARACTERS || search.len() == SEARCH_DOMAINS {
            continue;
        }
        characters = more;
        search.push(name);
    }
    let mut text = String::new();
    let written = writeln!(text, "search {}\nnameserver {}\noptions ndots:5", search.join(" "), config.dns_address);
    written.expect("a string takes everything");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_file_is_read() {
        let text = "# by hand\nnameserver 1.1.1.1\nnameserver nonsense\nnameserver ::1\nsearch old.example\n\
                    search corp.example. lan\noptions edns0\nnameserver\n";
        let found = parse(text);
        assert_eq!(
            found.servers,
            ["1.1.1.1".parse::<IpAddr>().expect("an address"), "::1".parse().expect("an address")]
        );
        assert_eq!(found.search, ["corp.example", "lan"]);
        assert_eq!(parse(""), HostResolver::default());
    }

    #[test]
    fn a_pod_searches_its_namespace_first() {
        let config = crate::testing::config();
        let host = ["corp.example".to_owned(), "cluster.local".to_owned()];
        assert_eq!(
            resolv_conf("shop", &config, &host),
            "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\n\
             nameserver 10.43.0.10\noptions ndots:5\n"
        );
    }

    #[test]
    fn search_domains_are_bounded() {
        let config = crate::testing::config();
        let many: Vec<_> = (0..100).map(|number| format!("d{number}.example")).collect();
        let text = resolv_conf("shop", &config, &many);
        assert_eq!(text.lines().next().map(|line| line.split(' ').count()), Some(1 + SEARCH_DOMAINS));
        let long = vec!["x".repeat(2000)];
        assert!(!resolv_conf("shop", &config, &long).contains("xx"));
    }
}
