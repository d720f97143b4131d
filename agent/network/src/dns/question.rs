//! What a name of the cluster asks for: purely from its labels.

use hickory_proto::rr::Name;
use std::net::Ipv4Addr;

/// A name under the cluster's domain, taken apart; labels in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The domain itself and `svc` under it, `dns-version` aside: names that exist without being anything.
    Apex,
    /// `svc.DOMAIN`, `pod.DOMAIN`.
    Branch,
    Version,
    /// `NAMESPACE.svc.DOMAIN`.
    Namespace(String),
    /// `NAME.NAMESPACE.svc.DOMAIN`.
    Service {
        name: String,
        namespace: String,
    },
    /// `HOSTNAME.NAME.NAMESPACE.svc.DOMAIN`; the hostname may be an address with dashes.
    Endpoint {
        host: String,
        name: String,
        namespace: String,
    },
    /// `_PROTOCOL.NAME.NAMESPACE.svc.DOMAIN`: it exists if a port below it does.
    ProtocolOf {
        protocol: String,
        name: String,
        namespace: String,
    },
    /// `_PORT._PROTOCOL.NAME.NAMESPACE.svc.DOMAIN`.
    Port {
        port: String,
        protocol: String,
        name: String,
        namespace: String,
    },
    /// `A-B-C-D.NAMESPACE.pod.DOMAIN`.
    Pod(Ipv4Addr),
    /// Under the domain, but nothing like the above.
    Nothing,
}

impl Question {
    /// `None` where the name is not under the domain.
    pub fn parse(name: &Name, domain: &Name) -> Option<Self> {
        if !domain.zone_of(name) {
            return None;
        }
        let below = usize::from(name.num_labels() - domain.num_labels());
        let labels: Option<Vec<String>> =
            name.iter().take(below).map(|label| std::str::from_utf8(label).ok().map(str::to_ascii_lowercase)).collect();
        let Some(labels) = labels else { return Some(Question::Nothing) };
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        Some(Self::from_labels(&labels))
    }

    fn from_labels(labels: &[&str]) -> Self {
        let own = |text: &str| text.to_owned();
        match *labels {
            [] => Question::Apex,
            ["svc"] | ["pod"] => Question::Branch,
            ["dns-version"] => Question::Version,
            [namespace, "svc"] => Question::Namespace(own(namespace)),
            [name, namespace, "svc"] => Question::Service { name: own(name), namespace: own(namespace) },
            [label, name, namespace, "svc"] => match label.strip_prefix('_') {
                Some(protocol) => {
                    Question::ProtocolOf { protocol: own(protocol), name: own(name), namespace: own(namespace) }
                }
                None => Question::Endpoint { host: own(label), name: own(name), namespace: own(namespace) },
            },
            [port, protocol, name, namespace, "svc"] => match (port.strip_prefix('_'), protocol.strip_prefix('_')) {
                (Some(port), Some(protocol)) => Question::Port {
                    port: own(port),
                    protocol: own(protocol),
                    name: own(name),
                    namespace: own(namespace),
                },
                _ => Question::Nothing,
            },
            [address, _, "pod"] => dashed(address).map_or(Question::Nothing, Question::Pod),
            _ => Question::Nothing,
        }
    }
}

/// `10-42-0-7` → 10.42.0.7.
pub fn dashed(label: &str) -> Option<Ipv4Addr> {
    label.replace('-', ".").parse().ok().filter(|_| !label.contains('.'))
}

/// 10.42.0.7 → `10-42-0-7`.
pub fn with_dashes(address: Ipv4Addr) -> String {
    address.to_string().replace('.', "-")
}

/// The address that a name under `in-addr.arpa` is about.
pub fn reverse(name: &Name) -> Option<Ipv4Addr> {
    let labels: Vec<&[u8]> = name.iter().collect();
    let [d, c, b, a, arpa @ ..] = labels.as_slice() else { return None };
    let is_arpa = arpa.len() == 2 && arpa[0].eq_ignore_ascii_case(b"in-addr") && arpa[1].eq_ignore_ascii_case(b"arpa");
    let number = |label: &[u8]| std::str::from_utf8(label).ok()?.parse::<u8>().ok();
    is_arpa.then_some(())?;
    Some(Ipv4Addr::new(number(a)?, number(b)?, number(c)?, number(d)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    #[test]
    fn names_are_taken_apart_whatever_their_case() {
        let domain = name("cluster.local.");
        let parse = |text: &str| Question::parse(&name(text), &domain);
        let service = Question::Service { name: "web".into(), namespace: "default".into() };
        assert_eq!(parse("web.default.svc.cluster.local."), Some(service.clone()));
        assert_eq!(parse("WEB.Default.SVC.Cluster.LOCAL."), Some(service));
        assert_eq!(parse("cluster.local."), Some(Question::Apex));
        assert_eq!(parse("default.svc.cluster.local."), Some(Question::Namespace("default".into())));
        assert_eq!(
            parse("_http._tcp.web.default.svc.cluster.local."),
            Some(Question::Port {
                port: "http".into(),
                protocol: "tcp".into(),
                name: "web".into(),
                namespace: "default".into()
            })
        );
        assert_eq!(parse("10-42-0-7.default.pod.cluster.local."), Some(Question::Pod(Ipv4Addr::new(10, 42, 0, 7))));
        assert_eq!(parse("10-42-0-700.default.pod.cluster.local."), Some(Question::Nothing));
        assert_eq!(parse("a.b.c.d.e.svc.cluster.local."), Some(Question::Nothing));
        for other in ["example.org.", "local.", "xcluster.local."] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn reverse_names_are_read_backwards() {
        assert_eq!(reverse(&name("7.0.42.10.in-addr.arpa.")), Some(Ipv4Addr::new(10, 42, 0, 7)));
        for other in
            ["0.42.10.in-addr.arpa.", "7.0.42.300.in-addr.arpa.", "7.0.42.10.ip6.arpa.", "x.7.0.42.10.in-addr.arpa."]
        {
            assert_eq!(reverse(&name(other)), None, "{other}");
        }
    }
}
