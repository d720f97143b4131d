//! Beside another firewall that drops what it does not know.

use crate::host::{on_host, pod, service, set};
use crate::namespace::Namespace;
use coracle_network::nft::{Socket, replace_table};
use coracle_network::rules::{Chain, ChainKind, Hook, Rule, Ruleset, Verdict};
use std::time::Duration;

/// The table as Docker leaves it; `FORWARD` drops what nobody accepts.
fn docker() -> Ruleset {
    let forward = Chain {
        hook: Some(Hook { kind: ChainKind::Filter, number: 2, priority: 0 }),
        rules: vec![
            Rule::of([Verdict::Jump("DOCKER-USER".into()).into()]),
            // The policy of chains made here is to accept.
            Rule::of([Verdict::Drop.into()]),
        ],
    };
    let chains = [("FORWARD".into(), forward), ("DOCKER-USER".into(), Chain::default())];
    Ruleset { table: "filter".into(), chains: chains.into(), ..Ruleset::default() }
}

fn start_docker(host: &Namespace) {
    host.run(|| Socket::open().expect("a socket").commit(replace_table(&docker())).expect("a table"));
}

fn user_rules(host: &Namespace) -> usize {
    host.run(|| Socket::open().expect("a socket").rules("filter", "DOCKER-USER").expect("rules").len())
}

#[test]
fn pods_talk_beside_docker() {
    on_host(async |host| {
        start_docker(&host.namespace);
        let network = host.start().await;
        let (a, b) = (pod(&network, "a").await, pod(&network, "b").await);
        b.namespace.serve_tcp(8080, "b");
        set(&network, [service("web", [10, 43, 0, 1], &[b.address])]).await;
        assert_eq!(a.namespace.hear("10.43.0.1:80"), format!("b {}", a.address));
        assert_eq!(user_rules(&host.namespace), 2);
        // Docker starts again, and forgets our rules: the next change puts them back.
        start_docker(&host.namespace);
        assert_eq!(user_rules(&host.namespace), 0);
        set(&network, [service("web", [10, 43, 0, 2], &[b.address])]).await;
        assert_eq!(user_rules(&host.namespace), 2);
        assert_eq!(a.namespace.hear("10.43.0.2:80"), format!("b {}", a.address));
        network.teardown().await.expect("nothing");
        assert_eq!(user_rules(&host.namespace), 0);
    });
}

/// The real tool, where it is installed: its chains, a policy that drops, and its own listing with our rules in it.
#[test]
fn pods_talk_beside_iptables() {
    if !std::path::Path::new("/usr/sbin/iptables-nft").exists() {
        println!("skipped: needs iptables-nft");
        return;
    }
    on_host(async |host| {
        iptables(&host.namespace, "-P FORWARD DROP");
        let network = host.start().await;
        let (a, b) = (pod(&network, "a").await, pod(&network, "b").await);
        b.namespace.serve_tcp(8080, "b");
        let target = format!("{}:8080", b.address);
        assert_eq!(a.namespace.hear(&target), format!("b {}", a.address));
        let listed = iptables(&host.namespace, "-S FORWARD");
        assert!(listed.contains("-A FORWARD -s 10.42.0.0/16") && listed.contains("-j ACCEPT"), "{listed}");
        // Docker is started now.
        iptables(&host.namespace, "-N DOCKER-USER");
        iptables(&host.namespace, "-I FORWARD -j DOCKER-USER");
        set(&network, [service("web", [10, 43, 0, 1], &[b.address])]).await;
        assert_eq!(iptables(&host.namespace, "-S DOCKER-USER").lines().count(), 3);
        assert_eq!(iptables(&host.namespace, "-S FORWARD").lines().count(), 2);
        assert_eq!(a.namespace.hear("10.43.0.1:80"), format!("b {}", a.address));
        network.teardown().await.expect("nothing");
        assert_eq!(
            iptables(&host.namespace, "-S"),
            "-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n-N DOCKER-USER\n-A FORWARD -j DOCKER-USER\n"
        );
    });
}

fn iptables(host: &Namespace, arguments: &str) -> String {
    let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
    host.run(move || {
        let output = std::process::Command::new("/usr/sbin/iptables-nft").args(&arguments).output().expect("it runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    })
}

/// `nft flush ruleset`, as a restart of a firewall does: the periodic audit repairs it.
#[test]
fn flushed_rules_come_back() {
    on_host(async |host| {
        let network = host.start().await;
        let (a, b) = (pod(&network, "a").await, pod(&network, "b").await);
        b.namespace.serve_tcp(8080, "b");
        set(&network, [service("web", [10, 43, 0, 1], &[b.address])]).await;
        host.namespace.run(|| {
            let mut batch = coracle_network::nft::Batch::new();
            batch.delete_table("coracle-test");
            Socket::open().expect("a socket").commit(batch).expect("a table less");
        });
        let mut left = 100;
        while a.namespace.get("10.43.0.1:80").is_err() {
            left -= 1;
            assert!(left > 0, "the rules never came back");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
}
