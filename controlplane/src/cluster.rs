//! What a cluster is for as long as its data lives: its id, its address ranges, its names. Chosen at the first start.

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// The file format; an unknown one is refused.
const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    format: u32,
    /// Eight hexadecimal digits; names the node's bridge, packet rules and cgroups.
    pub id: String,
    /// All pods; every node takes a /24 of it.
    pub pod_range: Ipv4Net,
    pub service_range: Ipv4Net,
    /// What DNS names of services end in.
    pub domain: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("{path}: {why}; restore the file from a backup, or start over with `coracle down --purge`")]
    Damaged { path: PathBuf, why: String },
    #[error("{path}: {why}")]
    Io { path: PathBuf, why: std::io::Error },
    #[error("every range from 10.42.0.0/16 to 10.105.0.0/16 is in use on this host; free one, or stop another cluster")]
    NoFreeRange,
}

impl Cluster {
    /// Reads the cluster of a data directory, or founds one that keeps clear of the ranges `used` on this host.
    pub fn open(data_dir: &Path, used: impl FnOnce() -> Vec<Ipv4Net>) -> Result<Self, ClusterError> {
        let path = data_dir.join("cluster.json");
        match std::fs::read(&path) {
            Ok(bytes) => Self::parse(&bytes).map_err(|why| ClusterError::Damaged { path, why }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let (pod_range, service_range) = free_ranges(&used()).ok_or(ClusterError::NoFreeRange)?;
                let id = format!("{:08x}", rand::random::<u32>());
                let made = Self { format: FORMAT, id, pod_range, service_range, domain: "cluster.local".into() };
                let bytes = serde_json::to_vec_pretty(&made).expect("plain data serialises");
                crate::files::replace(&path, &bytes, 0o600).map_err(|why| ClusterError::Io { path, why })?;
                Ok(made)
            }
            Err(why) => Err(ClusterError::Io { path, why }),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let cluster: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if cluster.format != FORMAT {
            return Err(format!("format {} is not known, only {FORMAT} is", cluster.format));
        }
        Ok(cluster)
    }

    /// The Service `default/kubernetes`: the first address of the range.
    pub fn api_service_address(&self) -> Ipv4Addr {
        nth(self.service_range, 1)
    }

    /// The tenth, as is the custom.
    pub fn dns_address(&self) -> Ipv4Addr {
        nth(self.service_range, 10)
    }

    /// The first node's part of the pod range; its first address is the bridge's.
    pub fn first_node_range(&self) -> Ipv4Net {
        Ipv4Net::new(self.pod_range.network(), 24).expect("24 is a prefix length")
    }
}

fn nth(range: Ipv4Net, n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(range.network()) + n)
}

/// The first pair of a pod /16 from 10.42 on and a service /16 sixty-four above it that overlaps nothing in use.
fn free_ranges(used: &[Ipv4Net]) -> Option<(Ipv4Net, Ipv4Net)> {
    let range = |second: u8| Ipv4Net::new(Ipv4Addr::new(10, second, 0, 0), 16).expect("16 is a prefix length");
    // A default route covers everything and claims nothing.
    let free = |candidate: Ipv4Net| {
        used.iter().filter(|u| u.prefix_len() > 0).all(|u| !u.contains(&candidate) && !candidate.contains(u))
    };
    (42u8..106).map(|n| (range(n), range(n + 64))).find(|(pods, services)| free(*pods) && free(*services))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(list: &[&str]) -> Vec<Ipv4Net> {
        list.iter().map(|s| s.parse().expect("a range")).collect()
    }

    #[test]
    fn ranges_keep_clear_of_what_is_in_use() {
        let table = [
            (nets(&[]), Some("10.42.0.0/16")),
            (nets(&["0.0.0.0/0", "192.168.0.0/16"]), Some("10.42.0.0/16")),
            (nets(&["10.42.0.0/24"]), Some("10.43.0.0/16")),
            (nets(&["10.42.0.0/24", "10.107.3.0/24"]), Some("10.44.0.0/16")),
            (nets(&["10.0.0.0/8"]), None),
        ];
        for (used, pods) in table {
            assert_eq!(free_ranges(&used).map(|(p, _)| p.to_string()).as_deref(), pods, "{used:?}");
        }
    }

    #[test]
    fn a_cluster_stays_what_it_was_founded_as() {
        let dir = tempfile::tempdir().expect("a directory");
        let founded = Cluster::open(dir.path(), Vec::new).expect("founded");
        let again = Cluster::open(dir.path(), || nets(&["10.42.0.0/16"])).expect("read");
        assert_eq!(founded, again);
        assert_eq!(again.dns_address().to_string(), "10.106.0.10");
        std::fs::write(dir.path().join("cluster.json"), "{").expect("written");
        assert!(matches!(Cluster::open(dir.path(), Vec::new), Err(ClusterError::Damaged { .. })));
    }
}
