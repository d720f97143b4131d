//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a pod: rendered purely, then written.

use crate::config::ClusterFacts;
use k8s_openapi::api::core::v1::{Pod, PodDNSConfig, PodSpec};
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// Where the three lie on the host.
#[derive(Clone, Debug)]
pub struct EtcFiles {
    pub hosts: PathBuf,
    pub hostname: PathBuf,
    pub resolv: PathBuf,
}

/// Upstream's bounds.
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;

pub fn write_etc(folder: &Path, pod: &Pod, cluster: &ClusterFacts, ip: Option<Ipv4Addr>) -> io::Result<EtcFiles> {
    fs::create_dir_all(folder)?;
    let files =
        EtcFiles { hosts: folder.join("hosts"), hostname: folder.join("hostname"), resolv: folder.join("resolv.conf") };
    let host = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let spec = pod.spec.clone().unwrap_or_default();
    let on_host = spec.host_network == Some(true);
    let base = if on_host { host("/etc/hosts") } else { hosts(pod, &spec, cluster, ip) };
    fs::write(&files.hosts, base + &aliases(&spec))?;
    fs::write(&files.hostname, format!("{}\n", hostname(pod)))?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let resolv = resolv_conf(&spec, namespace, cluster, &Resolv::parse(&host("/etc/resolv.conf")));
    fs::write(&files.resolv, resolv.render())?;
    Ok(files)
}

/// The pod's own name for itself: `spec.hostname`, else its name, at most 63 bytes.
pub fn hostname(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    let chosen = spec.and_then(|s| s.hostname.as_deref()).filter(|h| !h.is_empty());
    let name = chosen.or(pod.metadata.name.as_deref()).unwrap_or_default();
    let end = name.char_indices().map(|(at, _)| at).take_while(|at| *at <= 63).last().unwrap_or(0);
    let short = if name.len() > 63 { &name[..end.min(63)] } else { name };
    short.trim_end_matches(['-', '.']).to_owned()
}

fn hosts(pod: &Pod, spec: &PodSpec, cluster: &ClusterFacts, ip: Option<Ipv4Addr>) -> String {
    let mut text = "# Kubernetes-managed hosts file.\n\
        127.0.0.1\tlocalhost\n\
        ::1\tlocalhost ip6-localhost ip6-loopback\n\
        fe00::0\tip6-localnet\n\
        fe00::0\tip6-mcastprefix\n\
        fe00::1\tip6-allnodes\n\
        fe00::2\tip6-allrouters\n"
        .to_owned();
    if let Some(ip) = ip {
        let name = hostname(pod);
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        match spec.subdomain.as_deref().filter(|s| !s.is_empty()) {
            Some(sub) => {
                let domain = format!("{name}.{sub}.{namespace}.svc.{}", cluster.cluster_domain);
                text.push_str(&format!("{ip}\t{domain}\t{name}\n"));
            }
            None => text.push_str(&format!("{ip}\t{name}\n")),
        }
    }
    text
}

fn aliases(spec: &PodSpec) -> String {
    let aliases: Vec<_> = spec.host_aliases.iter().flatten().collect();
    if aliases.is_empty() {
        return String::new();
    }
    let line = |ip: &str, names: &[String]| format!("{ip}\t{}\n", names.join("\t"));
    let lines = aliases.iter().map(|a| line(&a.ip, a.hostnames.as_deref().unwrap_or_default()));
    format!("\n# Entries added by HostAliases.\n{}", lines.collect::<String>())
}

/// A resolver's configuration.
#[derive(Clone, Debug, Default, PartialEq)]
struct Resolv {
    nameservers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

impl Resolv {
    fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => parsed.nameservers.extend(words.next()),
                Some("search" | "domain") => parsed.searches = words.collect(),
                Some("options") => parsed.options = words.collect(),
                _ => {}
            }
        }
        parsed
    }

    fn render(&self) -> String {
        let mut text = String::new();
        if !self.searches.is_empty() {
            text.push_str(&format!("search {}\n", self.searches.join(" ")));
        }
        for server in &self.nameservers {
            text.push_str(&format!("nameserver {server}\n"));
        }
        if !self.options.is_empty() {
            text.push_str(&format!("options {}\n", self.options.join(" ")));
        }
        text
    }

    fn add(&mut self, config: &PodDNSConfig) {
        self.nameservers.extend(config.nameservers.iter().flatten().cloned());
        self.searches.extend(config.searches.iter().flatten().cloned());
        for option in config.options.iter().flatten() {
            let Some(name) = option.name.as_deref() else { continue };
            self.options.retain(|o| o != name && !o.starts_with(&format!("{name}:")));
            let value = option.value.as_deref().filter(|v| !v.is_empty());
            self.options.push(value.map_or_else(|| name.to_owned(), |v| format!("{name}:{v}")));
        }
    }

    fn bounded(mut self) -> Self {
        for list in [&mut self.nameservers, &mut self.searches] {
            let mut seen = Vec::new();
            list.retain(|item| {
                !seen.contains(item) && {
                    seen.push(item.clone());
                    true
                }
            });
        }
        self.nameservers.truncate(NAMESERVERS_MAX);
        self.searches.truncate(SEARCHES_MAX);
        self
    }
}

/// See <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-s-dns-policy>.
fn resolv_conf(spec: &PodSpec, namespace: &str, cluster: &ClusterFacts, host: &Resolv) -> Resolv {
    let on_host = spec.host_network == Some(true);
    let mut resolv = match spec.dns_policy.as_deref().unwrap_or("ClusterFirst") {
        "None" => Resolv::default(),
        "Default" => host.clone(),
        "ClusterFirst" if on_host => host.clone(),
        _ => {
            let domain = &cluster.cluster_domain;
            let own = [format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
            Resolv {
                nameservers: vec![cluster.dns_address.to_string()],
                searches: own.into_iter().chain(host.searches.iter().cloned()).collect(),
                options: vec!["ndots:5".to_owned()],
            }
        }
    };
    if let Some(config) = &spec.dns_config {
        resolv.add(config);
    }
    resolv.bounded()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn cluster() -> ClusterFacts {
        ClusterFacts { dns_address: Ipv4Addr::new(10, 96, 0, 10), cluster_domain: "cluster.local".into() }
    }

    fn resolved(spec: Value) -> String {
        let mut spec = spec;
        spec["containers"] = json!([]);
        let spec: PodSpec = serde_json::from_value(spec).expect("a spec");
        let host = Resolv::parse("domain corp.example\nnameserver 9.9.9.9\noptions rotate\n");
        resolv_conf(&spec, "d", &cluster(), &host).render()
    }

    #[test]
    fn dns_policies() {
        let first = "search d.svc.cluster.local svc.cluster.local cluster.local corp.example\nnameserver 10.96.0.10\noptions ndots:5\n";
        let host = "search corp.example\nnameserver 9.9.9.9\noptions rotate\n";
        let config = json!({"nameservers": ["1.1.1.1"], "searches": ["x.example"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]});
        let table = [
            (json!({}), first),
            (json!({"hostNetwork": true}), host),
            (json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}), first),
            (json!({"dnsPolicy": "Default"}), host),
            (
                json!({"dnsPolicy": "None", "dnsConfig": config}),
                "search x.example\nnameserver 1.1.1.1\noptions ndots:2 edns0\n",
            ),
        ];
        for (spec, expected) in table {
            assert_eq!(resolved(spec.clone()), expected, "{spec}");
        }
    }

    #[test]
    fn hosts_name_the_pod_and_its_aliases() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "d"},
            "spec": {"hostname": "web-0", "subdomain": "web", "containers": [], "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]},
        }))
        .expect("a pod");
        let spec = pod.spec.clone().expect("a spec");
        let text = hosts(&pod, &spec, &cluster(), Some(Ipv4Addr::new(10, 1, 0, 2))) + &aliases(&spec);
        assert!(text.contains("10.1.0.2\tweb-0.web.d.svc.cluster.local\tweb-0\n"), "{text}");
        assert!(text.ends_with("# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"), "{text}");
    }

    #[test]
    fn a_long_name_is_cut() {
        let long = "a".repeat(62) + "-bcd";
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": long}})).expect("a pod");
        assert_eq!(hostname(&pod), "a".repeat(62));
    }
}
