//! What outlives a process, and what teardown leaves: nothing.

use crate::host::{on_host, pod, service, set};
use crate::namespace::Namespace;
use coracle_network::{Config, HostPort, Network, NetworkError, PodLink, Protocol, teardown_leftovers, used_ranges};

const WEB: [u8; 4] = [10, 43, 0, 1];

/// Links, addresses (IPv4: those of IPv6 change by themselves), routes, forwarding and the names of tables, as text.
fn picture(host: &Namespace) -> String {
    let tables = host.run(|| {
        let tables = coracle_network::nft::Socket::open().expect("a socket").tables().expect("tables");
        tables.into_iter().map(|table| table.name).collect::<Vec<_>>().join(" ")
    });
    let forwarding = host.run(|| std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").expect("a setting"));
    let parts =
        ["-o link", "-o -4 address", "-4 route show table all", "-4 neighbour", "-4 rule"].map(|what| host.ip(what));
    format!("{}{tables}\n{forwarding}", parts.concat())
}

#[test]
fn teardown_leaves_nothing() {
    on_host(async |host| {
        let _world = host.world();
        let before = picture(&host.namespace);
        let network = host.start().await;
        let namespace = Namespace::new();
        let port = HostPort { protocol: Protocol::Tcp, host_ip: None, host_port: 8000, pod_port: 80 };
        let link = PodLink { id: "a".into(), netns: namespace.path(), host_ports: vec![port] };
        let address = network.attach(&link).await.expect("an address");
        set(&network, [service("web", WEB, &[address])]).await;
        assert_ne!(picture(&host.namespace), before);
        network.teardown().await.expect("nothing");
        assert_eq!(picture(&host.namespace), before);
        assert_eq!(std::fs::read_dir(host.config().state_dir).expect("a directory").count(), 0);
    });
}

#[test]
fn leftovers_of_a_killed_process_can_be_removed() {
    on_host(async |host| {
        let before = picture(&host.namespace);
        let network = host.start().await;
        let _pod = pod(&network, "a").await;
        drop(network);
        teardown_leftovers("test").await.expect("nothing");
        assert_eq!(picture(&host.namespace), before);
        teardown_leftovers("test").await.expect("nothing is nothing");
    });
}

#[test]
fn a_later_process_takes_over() {
    on_host(async |host| {
        let network = host.start().await;
        let (a, b) = (pod(&network, "a").await, pod(&network, "b").await);
        b.namespace.serve_tcp(8080, "b");
        set(&network, [service("web", WEB, &[b.address])]).await;
        let mut open = a.namespace.connect("10.43.0.1:80");
        // The responder's socket is closed a moment after the last handle is gone.
        drop(network);
        let network = started_again(&host.config()).await;
        assert_eq!(a.namespace.hear("10.43.0.1:80"), format!("b {}", a.address), "the last services are there");
        assert_eq!(crate::namespace::echo(&mut open).expect("an echo"), "still there");
        assert_eq!(network.attached().await.expect("ids"), ["a", "b"]);
        assert_eq!(network.attach(&a.link).await, Ok(a.address));
        let c = pod(&network, "c").await;
        assert!(![a.address, b.address].contains(&c.address));
    });
}

async fn started_again(config: &Config) -> Network {
    for _ in 0..200 {
        match Network::start(config.clone()).await {
            Ok(network) => return network,
            Err(NetworkError::Host { .. }) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("port 53 never became free");
}

#[test]
fn a_damaged_record_is_an_error_while_pods_run_and_nothing_afterwards() {
    on_host(async |host| {
        let network = host.start().await;
        let _a = pod(&network, "a").await;
        drop(network);
        let record = host.config().state_dir.join("network.json");
        std::fs::write(&record, "{\"range\": \"10.").expect("a file");
        assert!(matches!(Network::start(host.config()).await, Err(NetworkError::Io { .. })));
        // After a power cut the links are gone.
        teardown_leftovers("test").await.expect("nothing");
        let network = started_again(&host.config()).await;
        assert_eq!(network.attached().await.expect("ids"), Vec::<String>::new());
    });
}

/// A directory that is away stands for a disk that is full.
#[test]
fn what_could_not_be_recorded_is_recorded_when_asked_again() {
    on_host(async |host| {
        let network = host.start().await;
        let (records, away) = (host.config().state_dir, host.directory().join("away"));
        let recorded = |name: &str| std::fs::read_to_string(records.join(name)).expect("a record");
        let namespace = Namespace::new();
        let port = HostPort { protocol: Protocol::Udp, host_ip: None, host_port: 8000, pod_port: 80 };
        let link = PodLink { id: "the-pod".into(), netns: namespace.path(), host_ports: vec![port] };

        std::fs::rename(&records, &away).expect("a directory");
        assert!(matches!(network.attach(&link).await, Err(NetworkError::Io { .. })));
        std::fs::rename(&away, &records).expect("a directory");
        network.attach(&link).await.expect("an address");
        assert!(recorded("network.json").contains("the-pod"));

        std::fs::rename(&records, &away).expect("a directory");
        assert!(matches!(network.detach("the-pod").await, Err(NetworkError::Io { .. })));
        std::fs::rename(&away, &records).expect("a directory");
        network.detach("the-pod").await.expect("it is released");
        assert!(!recorded("network.json").contains("the-pod"));

        std::fs::rename(&records, &away).expect("a directory");
        set(&network, [service("web", WEB, &[network.gateway()])]).await;
        std::fs::rename(&away, &records).expect("a directory");
        set(&network, [service("web", WEB, &[network.gateway()])]).await;
        assert!(recorded("services.json").contains("web"));
    });
}

#[test]
fn another_range_waits_until_no_pod_holds_an_address_of_the_old() {
    on_host(async |host| {
        let network = host.start().await;
        let _a = pod(&network, "a").await;
        drop(network);
        let moved = Config { pod_range: "10.42.7.0/24".parse().expect("a range"), ..host.config() };
        let error = Network::start(moved).await.expect_err("a pod holds an address");
        assert!(error.to_string().contains("pods hold addresses of 10.42.0.0/24"), "{error}");
        let network = started_again(&host.config()).await;
        assert_eq!(network.attached().await.expect("ids"), ["a"]);
    });
}

#[test]
fn a_start_that_fails_leaves_nothing() {
    on_host(async |host| {
        let before = picture(&host.namespace);
        let taken = host.namespace.run(|| std::net::UdpSocket::bind("0.0.0.0:53").expect("a port"));
        let error = Network::start(host.config()).await.expect_err("the port is taken");
        assert!(error.to_string().contains("no DNS on 10.42.0.1:53"), "{error}");
        drop(taken);
        assert_eq!(picture(&host.namespace), before);
        host.start().await;
    });
}

#[test]
fn two_clusters_share_a_host() {
    on_host(async |host| {
        let before = picture(&host.namespace);
        let first = host.start().await;
        let used = used_ranges().await.expect("ranges");
        let config = host.config();
        assert!(used.contains(&config.cluster_range) && used.contains(&config.service_range), "{used:?}");
        let second = Config {
            state_dir: host.directory().join("second"),
            id: "other".into(),
            pod_range: "10.44.0.0/24".parse().expect("a range"),
            cluster_range: "10.44.0.0/16".parse().expect("a range"),
            service_range: "10.45.0.0/16".parse().expect("a range"),
            dns_address: [10, 45, 0, 10].into(),
            ..config
        };
        let second = Network::start(second).await.expect("a network");
        let (a, b) = (pod(&first, "a").await, pod(&second, "b").await);
        b.namespace.serve_tcp(8080, "b");
        set(&second, [service("web", [10, 45, 0, 1], &[b.address])]).await;
        assert!(host.namespace.hear("10.45.0.1:80").starts_with("b "));
        first.teardown().await.expect("nothing");
        assert!(a.namespace.get(&format!("{}:8080", b.address)).is_err());
        assert!(host.namespace.hear("10.45.0.1:80").starts_with("b "), "the other cluster goes on, forwarding too");
        second.teardown().await.expect("nothing");
        assert_eq!(picture(&host.namespace), before);
    });
}

#[test]
fn wrong_configurations_are_refused() {
    on_host(async |host| {
        let good = host.config();
        let range = |text: &str| text.parse().expect("a range");
        let bad = [
            Config { id: "TooLongAndLoud".into(), ..good.clone() },
            Config { id: String::new(), ..good.clone() },
            Config { pod_range: range("10.42.0.0/30"), ..good.clone() },
            Config { pod_range: range("10.99.0.0/24"), ..good.clone() },
            Config { service_range: range("10.42.128.0/17"), ..good.clone() },
            Config { dns_address: [10, 99, 0, 10].into(), ..good.clone() },
            Config { cluster_domain: "..".into(), ..good.clone() },
        ];
        for config in bad {
            let refused = Network::start(config.clone()).await;
            assert!(matches!(refused, Err(NetworkError::Host { .. })), "{config:?}: {refused:?}");
        }
    });
}
