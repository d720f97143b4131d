//! Pods talk to each other, to the host and to the world.

use crate::host::{HOST, WORLD, on_host, pod};
use crate::namespace::{AT_ONCE, Namespace};
use coracle_network::{HostPort, NetworkError, PodLink, Protocol};
use std::time::{Duration, Instant};

#[test]
fn pods_and_the_host_talk() {
    on_host(async |host| {
        let network = host.start().await;
        let (a, b) = (pod(&network, "a").await, pod(&network, "b").await);
        b.namespace.serve_tcp(8080, "b");
        host.namespace.serve_tcp(9000, "host");
        let gateway = network.gateway();
        assert_eq!(a.namespace.hear(&format!("{}:8080", b.address)), format!("b {}", a.address));
        assert_eq!(host.namespace.hear(&format!("{}:8080", b.address)), format!("b {gateway}"));
        assert_eq!(a.namespace.hear(&format!("{gateway}:9000")), format!("host {}", a.address));
    });
}

#[test]
fn the_world_sees_the_host_not_the_pod() {
    on_host(async |host| {
        let world = host.world();
        let network = host.start().await;
        let a = pod(&network, "a").await;
        world.serve_tcp(80, "world");
        assert_eq!(a.namespace.hear(&format!("{WORLD}:80")), format!("world {HOST}"));
    });
}

#[test]
fn an_address_nobody_has_is_refused_at_once() {
    on_host(async |host| {
        let network = host.start().await;
        let a = pod(&network, "a").await;
        for from in [&a.namespace, &host.namespace] {
            let started = Instant::now();
            let error = from.get("10.42.0.200:80").expect_err("nobody is there");
            assert_eq!(error.kind(), std::io::ErrorKind::HostUnreachable);
            assert!(started.elapsed() < AT_ONCE);
        }
    });
}

#[test]
fn a_pod_keeps_to_its_own_address_and_off_the_hosts_loopback() {
    on_host(async |host| {
        let network = host.start().await;
        let (a, b) = (pod(&network, "a").await, pod(&network, "b").await);
        b.namespace.serve_udp(8080, "b");
        host.namespace.run(|| {
            let socket = std::net::UdpSocket::bind("127.0.0.1:7000").expect("a port");
            std::thread::spawn(move || {
                let mut buffer = [0; 16];
                while let Ok((_, client)) = socket.recv_from(&mut buffer) {
                    drop(socket.send_to(b"loopback", client));
                }
            });
        });
        // It takes another's address: nothing it sends under it is carried.
        a.namespace.ip("address add 10.42.0.77/32 dev eth0");
        let target = format!("{}:8080", b.address);
        let heard = a.namespace.run(move || {
            let socket = std::net::UdpSocket::bind("10.42.0.77:0").expect("a socket");
            socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
            crate::namespace::ask(&socket, &target)
        });
        assert!(heard.is_err(), "{heard:?}");
        // It sends the host's loopback address over its link: nothing comes of it.
        a.namespace.ip("address del 127.0.0.1/8 dev lo");
        a.namespace.ip("route add 127.0.0.1/32 via 10.42.0.1 dev eth0 onlink");
        a.namespace.run(|| std::fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1")).expect("a setting");
        let heard = a.namespace.run(|| {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
            crate::namespace::ask(&socket, "127.0.0.1:7000")
        });
        assert!(heard.is_err(), "{heard:?}");
    });
}

#[test]
fn host_ports_lead_to_their_pod() {
    on_host(async |host| {
        let world = host.world();
        let network = host.start().await;
        let port = |host_port, host_ip: Option<&str>| HostPort {
            protocol: Protocol::Tcp,
            host_ip: host_ip.map(|ip| ip.parse().expect("an address")),
            host_port,
            pod_port: 8080,
        };
        let namespace = Namespace::new();
        namespace.serve_tcp(8080, "a");
        let host_ports = vec![port(8000, None), port(8001, Some("127.0.0.1"))];
        let link = PodLink { id: "a".into(), netns: namespace.path(), host_ports };
        let address = network.attach(&link).await.expect("an address");
        let gateway = network.gateway();
        assert_eq!(world.hear(&format!("{HOST}:8000")), format!("a {WORLD}"), "the client's address stays");
        assert_eq!(host.namespace.hear("127.0.0.1:8000"), format!("a {gateway}"));
        assert_eq!(host.namespace.hear("127.0.0.1:8001"), format!("a {gateway}"));
        assert_eq!(namespace.hear(&format!("{HOST}:8000")), format!("a {gateway}"), "to itself");
        assert!(world.get(&format!("{HOST}:8001")).is_err());

        let other = Namespace::new();
        let clash = PodLink { id: "b".into(), netns: other.path(), host_ports: vec![port(8001, None)] };
        let taken = NetworkError::HostPortTaken { protocol: Protocol::Tcp, port: 8001, holder: "a".into() };
        assert_eq!(network.attach(&clash).await, Err(taken));
        network.detach("a").await.expect("a pod less");
        assert!(world.get(&format!("{HOST}:8000")).is_err());
        assert_ne!(network.attach(&clash).await, Ok(address), "an address is not given out again soon");
        other.serve_tcp(8080, "b");
        assert_eq!(world.hear(&format!("{HOST}:8001")), format!("b {WORLD}"));
    });
}

/// A client that never stops sending follows a host port from pod to pod.
#[test]
fn udp_flows_follow_a_host_port() {
    on_host(async |host| {
        let world = host.world();
        let network = host.start().await;
        let socket = world.udp();
        host.namespace.serve_udp(8053, "host");
        let target = format!("{HOST}:8053");
        assert_eq!(crate::namespace::ask(&socket, &target).expect("an answer"), format!("host {WORLD}"));
        for name in ["a", "b"] {
            let namespace = Namespace::new();
            namespace.serve_udp(53, name);
            let port = HostPort { protocol: Protocol::Udp, host_ip: None, host_port: 8053, pod_port: 53 };
            let link = PodLink { id: name.into(), netns: namespace.path(), host_ports: vec![port] };
            network.attach(&link).await.expect("an address");
            assert_eq!(crate::namespace::ask(&socket, &target).expect("an answer"), format!("{name} {WORLD}"));
            network.detach(name).await.expect("a pod less");
        }
        assert_eq!(crate::namespace::ask(&socket, &target).expect("an answer"), format!("host {WORLD}"));
    });
}

#[test]
fn a_new_sandbox_of_a_pod_takes_its_address_along() {
    on_host(async |host| {
        let network = host.start().await;
        let (a, b) = (pod(&network, "a").await, pod(&network, "b").await);
        assert_eq!(network.attach(&a.link).await, Ok(a.address), "asked again, nothing changes");
        let again = Namespace::new();
        let link = PodLink { netns: again.path(), ..a.link.clone() };
        assert_eq!(network.attach(&link).await, Ok(a.address));
        again.serve_tcp(8080, "second");
        assert_eq!(b.namespace.hear(&format!("{}:8080", a.address)), format!("second {}", b.address));
    });
}

#[test]
fn pods_send_no_larger_packets_than_the_uplink_takes() {
    on_host(async |host| {
        let _world = host.world();
        host.namespace.ip("link set eth0 mtu 1400");
        host.namespace.ip(&format!("route add default via {WORLD}"));
        let network = host.start().await;
        let a = pod(&network, "a").await;
        let link = a.namespace.ip("link show eth0");
        assert!(link.contains("mtu 1400"), "{link}");
    });
}

/// A process was killed between making a pod's link and wiring it.
#[test]
fn a_half_wired_pod_is_wired_anew() {
    on_host(async |host| {
        let network = host.start().await;
        host.namespace.ip("link add v2-test type veth peer name stray");
        let (a, b) = (pod(&network, "a").await, pod(&network, "b").await);
        b.namespace.serve_tcp(8080, "b");
        assert_eq!(a.namespace.hear(&format!("{}:8080", b.address)), format!("b {}", a.address));
        // Its default route was the last thing to come.
        a.namespace.ip("route del default");
        assert_eq!(network.attach(&a.link).await, Ok(a.address));
        assert_eq!(a.namespace.hear(&format!("{}:8080", b.address)), format!("b {}", a.address));
    });
}

/// Prints the times that starting and connecting take; the bound is generous, for busy machines.
#[test]
fn a_pod_connects_quickly() {
    on_host(async |host| {
        let started = Instant::now();
        let network = host.start().await;
        println!("start: {:?}", started.elapsed());
        let mut times = Vec::new();
        for number in 0..20 {
            let namespace = Namespace::new();
            let link = PodLink { id: format!("p{number}"), netns: namespace.path(), host_ports: Vec::new() };
            let started = Instant::now();
            network.attach(&link).await.expect("an address");
            times.push(started.elapsed());
        }
        times.sort();
        println!("attach: median {:?}, worst {:?}", times[10], times[19]);
        assert!(times[10] < Duration::from_millis(100), "{times:?}");
    });
}
