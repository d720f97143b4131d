//! Services on the real kernel.

use crate::host::{HOST, WORLD, endpoint, on_host, pod, service, set};
use crate::namespace::{AT_ONCE, Namespace, ask, echo};
use coracle_network::{Network, Protocol, Service, ServicePort, Services};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const WEB: [u8; 4] = [10, 43, 0, 1];

#[test]
fn pods_and_the_host_reach_a_service() {
    on_host(async |host| {
        let network = host.start().await;
        let (a, b) = (pod(&network, "a").await, pod(&network, "b").await);
        a.namespace.serve_tcp(8080, "a");
        b.namespace.serve_tcp(8080, "b");
        set(&network, [service("web", WEB, &[b.address])]).await;
        let gateway = network.gateway();
        assert_eq!(a.namespace.hear("10.43.0.1:80"), format!("b {}", a.address));
        assert_eq!(host.namespace.hear("10.43.0.1:80"), format!("b {gateway}"));
        // To itself: the answer must come back through the service.
        assert_eq!(b.namespace.hear("10.43.0.1:80"), format!("b {gateway}"));
    });
}

#[test]
fn connections_spread_over_all_endpoints() {
    on_host(async |host| {
        let network = host.start().await;
        let pods = [pod(&network, "a").await, pod(&network, "b").await, pod(&network, "c").await];
        for (pod, name) in pods.iter().zip(["a", "b", "c"]) {
            pod.namespace.serve_tcp(8080, name);
        }
        set(&network, [service("web", WEB, &pods.each_ref().map(|pod| pod.address))]).await;
        let heard: BTreeSet<_> = (0..60).map(|_| host.namespace.hear("10.43.0.1:80")).collect();
        assert_eq!(heard.len(), 3, "{heard:?}");
    });
}

#[test]
fn node_ports_and_external_addresses_are_open_to_the_world() {
    on_host(async |host| {
        let world = host.world();
        let network = host.start().await;
        let a = pod(&network, "a").await;
        a.namespace.serve_tcp(8080, "a");
        let mut web = service("web", WEB, &[a.address]);
        web.ports[0].node_port = Some(30080);
        web.external_ips = vec![Ipv4Addr::new(198, 51, 100, 7)];
        set(&network, [web]).await;
        world.ip("route add 198.51.100.7/32 via 192.0.2.1");
        let gateway = network.gateway();
        assert_eq!(world.hear(&format!("{HOST}:30080")), format!("a {WORLD}"), "the client's address stays");
        assert_eq!(world.hear("198.51.100.7:80"), format!("a {WORLD}"));
        assert_eq!(host.namespace.hear("127.0.0.1:30080"), format!("a {gateway}"));
        assert_eq!(host.namespace.hear(&format!("{gateway}:30080")), format!("a {gateway}"));
        assert_eq!(a.namespace.hear(&format!("{HOST}:30080")), format!("a {gateway}"), "to itself");
    });
}

/// As the API server is, behind the service `kubernetes`.
#[test]
fn the_node_itself_can_be_an_endpoint() {
    on_host(async |host| {
        let _world = host.world();
        let network = host.start().await;
        let a = pod(&network, "a").await;
        host.namespace.serve_tcp(8080, "node");
        let gateway = network.gateway();
        set(
            &network,
            [
                service("by-gateway", WEB, &[gateway]),
                service("by-address", [10, 43, 0, 2], &[HOST.parse().expect("an address")]),
            ],
        )
        .await;
        for address in ["10.43.0.1:80", "10.43.0.2:80"] {
            assert_eq!(a.namespace.hear(address), format!("node {}", a.address));
            assert!(host.namespace.hear(address).starts_with("node "));
        }
    });
}

#[test]
fn an_endpoint_may_be_anywhere() {
    on_host(async |host| {
        let world = host.world();
        let network = host.start().await;
        let a = pod(&network, "a").await;
        world.serve_tcp(8080, "world");
        let mut far = service("far", WEB, &[WORLD.parse().expect("an address")]);
        far.ports[0].node_port = Some(30080);
        far.ports[0].endpoints[0].local = false;
        set(&network, [far]).await;
        for from in [&a.namespace, &host.namespace] {
            assert_eq!(from.hear("10.43.0.1:80"), format!("world {HOST}"));
        }
        // The answer must come back this way.
        assert_eq!(world.hear(&format!("{HOST}:30080")), format!("world {HOST}"));
    });
}

/// `Local` leaves outside clients with this node's endpoints only; the cluster's own reach all.
#[test]
fn external_traffic_policy_local_is_for_outside_clients() {
    on_host(async |host| {
        let world = host.world();
        let network = host.start().await;
        let (a, b) = (pod(&network, "a").await, pod(&network, "b").await);
        a.namespace.serve_tcp(8080, "a");
        b.namespace.serve_tcp(8080, "b");
        let mut web = service("web", WEB, &[a.address, b.address]);
        web.ports[0].endpoints[1].local = false;
        web.ports[0].node_port = Some(30080);
        web.external_local = true;
        set(&network, [web]).await;
        let from_world: BTreeSet<_> = (0..20).map(|_| world.hear(&format!("{HOST}:30080"))).collect();
        assert_eq!(from_world, BTreeSet::from([format!("a {WORLD}")]));
        let from_pod: BTreeSet<_> = (0..40).map(|_| a.namespace.hear(&format!("{HOST}:30080"))).collect();
        assert_eq!(from_pod.len(), 2, "{from_pod:?}");
    });
}

#[test]
fn without_endpoints_a_service_refuses_at_once() {
    on_host(async |host| {
        let world = host.world();
        let network = host.start().await;
        let a = pod(&network, "a").await;
        let mut web = service("web", WEB, &[]);
        web.ports[0].node_port = Some(30080);
        web.external_ips = vec![Ipv4Addr::new(198, 51, 100, 7)];
        set(&network, [web]).await;
        world.ip("route add 198.51.100.7/32 via 192.0.2.1");
        host.namespace.ip("route add 198.51.100.7/32 dev eth0");
        let refused = |namespace: &Namespace, address: &str| {
            let started = Instant::now();
            let error = namespace.get(address).expect_err("nobody answers");
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{address}: {error}");
            assert!(started.elapsed() < AT_ONCE, "{address}");
        };
        for address in ["10.43.0.1:80", "10.43.9.9:80", "192.0.2.1:30080"] {
            refused(&a.namespace, address);
            refused(&host.namespace, address);
        }
        refused(&world, "192.0.2.1:30080");
        refused(&world, "198.51.100.7:80");
        let socket = a.namespace.udp();
        let connected = a.namespace.run(move || {
            socket.connect("10.43.0.1:53").expect("an address");
            socket.send(b"?").expect("sent");
            socket.recv(&mut [0; 16])
        });
        assert_eq!(connected.expect_err("nobody").kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_client_with_affinity_stays_with_its_endpoint() {
    on_host(async |host| {
        let network = host.start().await;
        let pods = [pod(&network, "a").await, pod(&network, "b").await, pod(&network, "c").await];
        for (pod, name) in pods.iter().zip(["a", "b", "c"]) {
            pod.namespace.serve_tcp(8080, name);
        }
        let sticky =
            |addresses: &[Ipv4Addr]| Service { affinity_seconds: Some(10_800), ..service("web", WEB, addresses) };
        let all = pods.each_ref().map(|pod| pod.address);
        set(&network, [sticky(&all)]).await;
        let hear = || host.namespace.hear("10.43.0.1:80").split(' ').next().map(str::to_owned).expect("a name");
        let first = hear();
        assert!((0..20).all(|_| hear() == first));
        // Another service comes, an endpoint goes: the client stays.
        let kept = pods.iter().zip(["a", "b", "c"]).find(|(_, name)| *name == first).expect("the pod").0.address;
        let other = all.into_iter().find(|address| *address != kept).expect("another");
        set(&network, [sticky(&[kept, other]), service("other", [10, 43, 0, 2], &all)]).await;
        assert!((0..20).all(|_| hear() == first));
        // Its endpoint goes: it gets another, and stays there.
        set(&network, [sticky(&all.into_iter().filter(|address| *address != kept).collect::<Vec<_>>())]).await;
        let second = hear();
        assert_ne!(second, first);
        assert!((0..20).all(|_| hear() == second));
    });
}

#[test]
fn udp_flows_leave_an_endpoint_that_vanished() {
    on_host(async |host| {
        let network = host.start().await;
        let (a, b, client) = (pod(&network, "a").await, pod(&network, "b").await, pod(&network, "c").await);
        a.namespace.serve_udp(8080, "a");
        b.namespace.serve_udp(8080, "b");
        let udp = |address| Service {
            cluster_ips: vec![WEB.into()],
            ports: vec![ServicePort {
                protocol: Protocol::Udp,
                port: 53,
                endpoints: vec![endpoint(address)],
                ..ServicePort::default()
            }],
            ..service("web", WEB, &[])
        };
        set(&network, [udp(a.address)]).await;
        let socket = client.namespace.udp();
        assert_eq!(ask(&socket, "10.43.0.1:53").expect("an answer"), format!("a {}", client.address));
        set(&network, [udp(b.address)]).await;
        assert_eq!(ask(&socket, "10.43.0.1:53").expect("an answer"), format!("b {}", client.address));
    });
}

#[test]
fn established_connections_outlive_their_endpoints_removal() {
    on_host(async |host| {
        let network = host.start().await;
        let (a, b) = (pod(&network, "a").await, pod(&network, "b").await);
        a.namespace.serve_tcp(8080, "a");
        b.namespace.serve_tcp(8080, "b");
        set(&network, [service("web", WEB, &[a.address])]).await;
        let mut from_host = host.namespace.connect("10.43.0.1:80");
        let mut from_pod = b.namespace.connect("10.43.0.1:80");
        set(&network, [service("web", WEB, &[b.address])]).await;
        assert_eq!(echo(&mut from_host).expect("an echo"), "still there");
        assert_eq!(echo(&mut from_pod).expect("an echo"), "still there");
        assert!(host.namespace.hear("10.43.0.1:80").starts_with("b "));
    });
}

/// Endpoints change all the time while clients connect: every connection must succeed. `CORACLE_SWITCHES` sets how
/// often.
#[test]
fn no_connection_fails_while_endpoints_change() {
    on_host(async |host| {
        let network = host.start().await;
        let pods = [pod(&network, "a").await, pod(&network, "b").await, pod(&network, "c").await];
        for (pod, name) in pods.iter().zip(["a", "b", "c"]) {
            pod.namespace.serve_tcp(8080, name);
        }
        let client = pod(&network, "client").await;
        let all = pods.each_ref().map(|pod| pod.address);
        set(&network, [service("web", WEB, &all)]).await;
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let load = [&host.namespace, &client.namespace].map(|from| {
            let stop = stop.clone();
            let namespace = Namespace::open(&from.path());
            std::thread::spawn(move || namespace.run(move || connect_until(&stop)))
        });
        let switches = std::env::var("CORACLE_SWITCHES").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
        for round in 0..switches {
            let chosen: Vec<_> =
                all.iter().copied().enumerate().filter(|(i, _)| i % 3 != round % 3).map(|(_, a)| a).collect();
            set(&network, [service("web", WEB, &chosen)]).await;
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for thread in load {
            let (done, errors) = thread.join().expect("the load ends");
            println!("{done} connections");
            assert!(done > 10);
            assert_eq!(errors, Vec::<String>::new());
        }
    });
}

fn connect_until(stop: &std::sync::atomic::AtomicBool) -> (usize, Vec<String>) {
    // A long run needs more ports than there are, unless closed ones may be taken again.
    std::fs::write("/proc/sys/net/ipv4/tcp_tw_reuse", "1").expect("a setting");
    let (mut done, mut errors) = (0, Vec::new());
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        let address = "10.43.0.1:80".parse().expect("an address");
        let heard = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(30))
            .and_then(|mut stream| crate::namespace::read_line(&mut stream));
        match heard {
            Ok(_) => done += 1,
            Err(error) => errors.push(error.to_string()),
        }
    }
    (done, errors)
}

/// Thousands of services: the first set takes a moment, a change in one of them next to nothing.
#[test]
fn thousands_of_services_are_set_at_once() {
    on_host(async |host| {
        let network = host.start().await;
        let a = pod(&network, "a").await;
        a.namespace.serve_tcp(8080, "a");
        let number: u16 = std::env::var("CORACLE_SERVICES").ok().and_then(|text| text.parse().ok()).unwrap_or(2000);
        let many = |first: &[Ipv4Addr]| {
            let mut services: Vec<_> = (1..number)
                .map(|index| {
                    let [high, low] = (index + 256).to_be_bytes();
                    service(&format!("s{index}"), [10, 43, high, low], &[a.address, Ipv4Addr::new(10, 42, 0, 99)])
                })
                .collect();
            services.push(service("web", WEB, first));
            services
        };
        let timed = async |network: &Network, services: Vec<Service>| {
            let started = Instant::now();
            network.set_services(Services(services)).await.expect("the services");
            started.elapsed()
        };
        let first = timed(&network, many(&[a.address])).await;
        assert!(host.namespace.hear("10.43.0.1:80").starts_with("a "));
        let second = timed(&network, many(&[])).await;
        assert!(host.namespace.get("10.43.0.1:80").is_err());
        println!("{number} services: all {first:?}, then one changed {second:?}");
    });
}
