//! What a node's table says about it to whoever lists tables: its ranges, and whether it found forwarding switched off.
//! It lives with the table in the kernel, so it is there exactly as long as what it speaks of.

use crate::Config;
use ipnet::Ipv4Net;

/// The comment on a node's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub cluster_range: Ipv4Net,
    pub service_range: Ipv4Net,
    /// A node switched `ip_forward` on; the last one to leave switches it off.
    pub forwarding_was_off: bool,
}

const FORWARDING_WAS_OFF: &str = "forwarding-was-off";

impl Claim {
    pub fn of(config: &Config, forwarding_was_off: bool) -> Self {
        Self { cluster_range: config.cluster_range, service_range: config.service_range, forwarding_was_off }
    }

    pub fn parse(comment: &str) -> Option<Self> {
        let mut words = comment.split(' ');
        let mut range = |name: &str| -> Option<Ipv4Net> {
            (words.next()? == name).then_some(())?;
            words.next()?.parse().ok()
        };
        let (cluster_range, service_range) = (range("pods")?, range("services")?);
        Some(Self { cluster_range, service_range, forwarding_was_off: words.next() == Some(FORWARDING_WAS_OFF) })
    }
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "pods {} services {}", self.cluster_range, self.service_range)?;
        if self.forwarding_was_off { write!(f, " {FORWARDING_WAS_OFF}") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_read_as_it_was_written() {
        for forwarding_was_off in [false, true] {
            let claim = Claim {
                cluster_range: "10.42.0.0/16".parse().expect("a range"),
                service_range: "255.255.255.240/28".parse().expect("a range"),
                forwarding_was_off,
            };
            assert_eq!(Claim::parse(&claim.to_string()), Some(claim.clone()));
            assert!(claim.to_string().len() < 128, "nf_tables comments have at most 128 bytes");
        }
        for bad in ["", "pods", "pods x services y", "services 10.0.0.0/8 pods 10.0.0.0/8"] {
            assert_eq!(Claim::parse(bad), None, "{bad}");
        }
    }
}
