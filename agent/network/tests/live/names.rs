//! DNS as a pod sees it.

use crate::host::{on_host, pod, service, set};
use crate::namespace::{AT_ONCE, Namespace};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

fn query(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    message.to_vec().expect("bytes")
}

fn resolve(from: &Namespace, server: &str, name: &str) -> Message {
    let (server, query) = (server.to_owned(), query(name, RecordType::A));
    from.run(move || {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        socket.connect(server).expect("an address");
        socket.send(&query).expect("sent");
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).expect("an answer");
        Message::from_vec(&buffer[..length]).expect("a message")
    })
}

fn addresses(message: &Message) -> Vec<Ipv4Addr> {
    let address = |record: &hickory_proto::rr::Record| match &record.data {
        RData::A(address) => Some(address.0),
        _ => None,
    };
    message.answers.iter().filter_map(address).collect()
}

#[test]
fn pods_and_the_host_resolve_services() {
    on_host(async |host| {
        let network = host.start().await;
        let a = pod(&network, "a").await;
        set(&network, [service("web", [10, 43, 0, 1], &[a.address])]).await;
        let name = "web.default.svc.cluster.local.";
        for (from, server) in
            [(&a.namespace, "10.43.0.10:53"), (&a.namespace, "10.42.0.1:53"), (&host.namespace, "10.43.0.10:53")]
        {
            let server = server.to_owned();
            let from = Namespace::open(&from.path());
            let answer = tokio::task::spawn_blocking(move || resolve(&from, &server, name)).await.expect("an answer");
            assert_eq!(addresses(&answer), [Ipv4Addr::new(10, 43, 0, 1)]);
        }
    });
}

#[test]
fn dns_speaks_tcp_too() {
    on_host(async |host| {
        let network = host.start().await;
        let a = pod(&network, "a").await;
        set(&network, [service("web", [10, 43, 0, 1], &[a.address])]).await;
        let from = Namespace::open(&a.namespace.path());
        let asked = tokio::task::spawn_blocking(move || {
            from.run(|| {
                let mut stream = std::net::TcpStream::connect("10.43.0.10:53").expect("a connection");
                let query = query("web.default.svc.cluster.local.", RecordType::A);
                let mut framed = (query.len() as u16).to_be_bytes().to_vec();
                framed.extend(query);
                stream.write_all(&framed).expect("sent");
                let mut length = [0; 2];
                stream.read_exact(&mut length).expect("a length");
                let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut answer).expect("an answer");
                Message::from_vec(&answer).expect("a message")
            })
        });
        assert_eq!(addresses(&asked.await.expect("an answer")), [Ipv4Addr::new(10, 43, 0, 1)]);
    });
}

#[test]
fn other_names_are_asked_for_upstream() {
    on_host(async |host| {
        // A name server that knows one address for every name, somewhere on the host.
        let server = host.namespace.run(|| UdpSocket::bind("127.0.0.2:53").expect("a port"));
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, client)) = server.recv_from(&mut buffer) {
                let Ok(query) = Message::from_vec(&buffer[..length]) else { continue };
                let mut answer = query.clone().into_response();
                let name = query.queries[0].name().clone();
                let data = RData::A(hickory_proto::rr::rdata::A(Ipv4Addr::new(203, 0, 113, 1)));
                answer.add_answer(hickory_proto::rr::Record::from_rdata(name, 60, data));
                drop(server.send_to(&answer.to_vec().expect("bytes"), client));
            }
        });
        let config = coracle_network::Config { upstream_dns: vec![[127, 0, 0, 2].into()], ..host.config() };
        let network = coracle_network::Network::start(config).await.expect("a network");
        let a = pod(&network, "a").await;
        let mut elsewhere = service("elsewhere", [0; 4], &[]);
        elsewhere.cluster_ips.clear();
        elsewhere.external_name = Some("www.example.org".into());
        set(&network, [elsewhere]).await;
        for name in ["www.example.org.", "elsewhere.default.svc.cluster.local."] {
            let from = Namespace::open(&a.namespace.path());
            let asked = tokio::task::spawn_blocking(move || resolve(&from, "10.43.0.10:53", name));
            assert_eq!(addresses(&asked.await.expect("an answer")), [Ipv4Addr::new(203, 0, 113, 1)], "{name}");
        }
    });
}

#[test]
fn without_an_upstream_other_names_fail_quickly() {
    on_host(async |host| {
        // Nothing listens there: the kernel says so at once.
        let config = coracle_network::Config { upstream_dns: vec![[127, 0, 0, 3].into()], ..host.config() };
        let network = coracle_network::Network::start(config).await.expect("a network");
        let a = pod(&network, "a").await;
        let from = Namespace::open(&a.namespace.path());
        let started = std::time::Instant::now();
        let asked = tokio::task::spawn_blocking(move || resolve(&from, "10.43.0.10:53", "www.example.org."));
        assert_eq!(asked.await.expect("an answer").metadata.response_code, ResponseCode::ServFail);
        assert!(started.elapsed() < AT_ONCE);
    });
}
