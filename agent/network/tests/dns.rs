//! What DNS answers, question by question, and that no packet can hurt it.

use coracle_network::dns::{Reply, Transport, Zone, respond};
use coracle_network::{Config, EndpointAddress, Protocol, Service, ServicePort, Services};
use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::{Name, RecordType};
use proptest::prelude::*;
use std::net::Ipv4Addr;
use std::sync::{Arc, LazyLock};

fn config() -> Config {
    Config {
        state_dir: "/nowhere".into(),
        id: "test".into(),
        pod_range: "10.42.0.0/24".parse().expect("a range"),
        cluster_range: "10.42.0.0/16".parse().expect("a range"),
        service_range: "10.43.0.0/16".parse().expect("a range"),
        dns_address: Ipv4Addr::new(10, 43, 0, 10),
        cluster_domain: "cluster.local".into(),
        upstream_dns: Vec::new(),
    }
}

fn address(last: u8, hostname: Option<&str>, ready: bool) -> EndpointAddress {
    EndpointAddress {
        address: Ipv4Addr::new(10, 42, 0, last),
        hostname: hostname.map(str::to_owned),
        ready,
        ports: [("http".to_owned(), (Protocol::Tcp, 8080))].into(),
    }
}

fn service(name: &str) -> Service {
    Service { namespace: "shop".into(), name: name.into(), ..Service::default() }
}

static ZONE: LazyLock<Zone> = LazyLock::new(|| {
    let http = ServicePort { name: "http".into(), port: 80, ..ServicePort::default() };
    let web = Service { cluster_ips: vec![Ipv4Addr::new(10, 43, 0, 1)], ports: vec![http], ..service("web") };
    let addresses = vec![address(2, Some("db-0"), true), address(3, Some("db-1"), false), address(4, None, true)];
    let headless = Service { addresses: addresses.clone(), ..service("db") };
    let unready = Service { addresses, publish_not_ready: true, ..service("early") };
    let empty = service("empty");
    let alias = |name: &str, to: &str| Service { external_name: Some(to.into()), ..service(name) };
    let large = Service {
        addresses: (0..200).map(|last| EndpointAddress { hostname: None, ..address(last, None, true) }).collect(),
        ..service("large")
    };
    let services = vec![
        web,
        headless,
        unready,
        empty,
        alias("inner", "web.shop.svc.cluster.local"),
        alias("outer", "www.example.org"),
        alias("loop", "loop.shop.svc.cluster.local"),
        alias("bad", "not a..name"),
        large,
    ];
    Zone::new(&config(), Arc::new(Services(services)))
});

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    message
}

fn ask(query: &Message, transport: Transport) -> Reply {
    respond(&ZONE, &query.to_vec().expect("bytes"), transport)
}

/// The answer in short: the code, then the data of the records.
fn answer(name: &str, kind: RecordType) -> String {
    match ask(&query(name, kind), Transport::Tcp) {
        Reply::Send(bytes) => {
            let message = Message::from_vec(&bytes).expect("a message");
            let mut records: Vec<_> = message.answers.iter().map(|record| record.data.to_string()).collect();
            records.sort();
            records.insert(0, format!("{:?}", message.metadata.response_code));
            records.join(" ")
        }
        Reply::Forward => "forwarded".into(),
        Reply::Chase(chase) => format!("forwarded for {}", chase.target),
        Reply::Ignore => "ignored".into(),
    }
}

#[test]
fn names_and_their_answers() {
    use RecordType::{A, AAAA, ANY, CNAME, NS, PTR, SOA, SRV, TXT};
    let table = [
        ("web.shop.svc.cluster.local.", A, "NoError 10.43.0.1"),
        ("WeB.sHOP.svc.CLUSTER.local.", A, "NoError 10.43.0.1"),
        ("web.shop.svc.cluster.local.", AAAA, "NoError"),
        ("web.shop.svc.cluster.local.", ANY, "NoError 10.43.0.1"),
        ("db.shop.svc.cluster.local.", A, "NoError 10.42.0.2 10.42.0.4"),
        ("early.shop.svc.cluster.local.", A, "NoError 10.42.0.2 10.42.0.3 10.42.0.4"),
        ("empty.shop.svc.cluster.local.", A, "NXDomain"),
        ("db-0.db.shop.svc.cluster.local.", A, "NoError 10.42.0.2"),
        ("DB-0.db.shop.svc.cluster.local.", A, "NoError 10.42.0.2"),
        ("db-1.db.shop.svc.cluster.local.", A, "NXDomain"),
        ("db-1.early.shop.svc.cluster.local.", A, "NoError 10.42.0.3"),
        ("10-42-0-4.db.shop.svc.cluster.local.", A, "NoError 10.42.0.4"),
        ("_http._tcp.web.shop.svc.cluster.local.", SRV, "NoError 0 100 80 web.shop.svc.cluster.local."),
        ("_tcp.web.shop.svc.cluster.local.", A, "NoError"),
        ("_udp.web.shop.svc.cluster.local.", A, "NXDomain"),
        ("_http._udp.web.shop.svc.cluster.local.", SRV, "NXDomain"),
        ("_https._tcp.web.shop.svc.cluster.local.", SRV, "NXDomain"),
        (
            "_http._tcp.db.shop.svc.cluster.local.",
            SRV,
            "NoError 0 100 8080 10-42-0-4.db.shop.svc.cluster.local. 0 100 8080 db-0.db.shop.svc.cluster.local.",
        ),
        ("inner.shop.svc.cluster.local.", A, "NoError 10.43.0.1 web.shop.svc.cluster.local."),
        ("inner.shop.svc.cluster.local.", CNAME, "NoError web.shop.svc.cluster.local."),
        ("outer.shop.svc.cluster.local.", A, "forwarded for www.example.org."),
        ("bad.shop.svc.cluster.local.", A, "NXDomain"),
        ("1.0.43.10.in-addr.arpa.", PTR, "NoError web.shop.svc.cluster.local."),
        ("2.0.42.10.in-addr.arpa.", PTR, "NoError db-0.db.shop.svc.cluster.local."),
        ("4.0.42.10.in-addr.arpa.", PTR, "NoError 10-42-0-4.db.shop.svc.cluster.local."),
        ("99.0.43.10.in-addr.arpa.", PTR, "NXDomain"),
        ("8.8.8.8.in-addr.arpa.", PTR, "forwarded"),
        ("10-42-0-7.shop.pod.cluster.local.", A, "NoError 10.42.0.7"),
        ("10-42-0.shop.pod.cluster.local.", A, "NXDomain"),
        ("dns-version.cluster.local.", TXT, "NoError 1.1.0"),
        ("cluster.local.", NS, "NoError ns.dns.cluster.local."),
        ("svc.cluster.local.", A, "NoError"),
        ("shop.svc.cluster.local.", A, "NoError"),
        ("nowhere.svc.cluster.local.", A, "NXDomain"),
        ("nothing.shop.svc.cluster.local.", A, "NXDomain"),
        ("www.example.org.shop.svc.cluster.local.", A, "NXDomain"),
        ("www.example.org.", A, "forwarded"),
        ("local.", SOA, "forwarded"),
    ];
    for (name, kind, wanted) in table {
        assert_eq!(answer(name, kind), wanted, "{name} {kind}");
    }
    assert!(answer("loop.shop.svc.cluster.local.", A).starts_with("ServFail"));
}

fn sent(reply: Reply) -> Message {
    match reply {
        Reply::Send(bytes) => Message::from_vec(&bytes).expect("a message"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_is_said_with_how_long_it_holds() {
    let message = sent(ask(&query("nothing.shop.svc.cluster.local.", RecordType::A), Transport::Udp));
    assert_eq!(message.authorities.iter().map(|record| record.record_type()).collect::<Vec<_>>(), [RecordType::SOA]);
    assert!(message.metadata.authoritative && message.metadata.recursion_available);
}

#[test]
fn large_answers_are_cut_over_udp_only() {
    let mut asked = query("large.shop.svc.cluster.local.", RecordType::A);
    let plain = sent(ask(&asked, Transport::Udp));
    assert!(plain.metadata.truncation && plain.answers.is_empty());
    assert_eq!(sent(ask(&asked, Transport::Tcp)).answers.len(), 200);
    let mut edns = Edns::new();
    edns.set_max_payload(65_000);
    asked.set_edns(edns);
    let Reply::Send(bytes) = ask(&asked, Transport::Udp) else { panic!("an answer") };
    assert!(bytes.len() <= 1232);
    let message = Message::from_vec(&bytes).expect("a message");
    assert!(message.metadata.truncation && message.edns.is_some());
}

#[test]
fn what_is_no_plain_question_is_refused() {
    let good = query("web.shop.svc.cluster.local.", RecordType::A).to_vec().expect("bytes");
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        match respond(&ZONE, &bytes, Transport::Udp) {
            Reply::Send(bytes) => format!("{:?}", Message::from_vec(&bytes).expect("a message").metadata.response_code),
            other => format!("{other:?}"),
        }
    };
    assert_eq!(changed(&|_| {}), "NoError");
    assert_eq!(changed(&|bytes| bytes.truncate(11)), "Ignore");
    assert_eq!(changed(&|bytes| bytes[2] |= 0x80), "Ignore", "a response");
    assert_eq!(changed(&|bytes| bytes[2] |= 0x28), "NotImp", "an update");
    assert_eq!(changed(&|bytes| bytes[5] = 2), "FormErr", "two questions");
    assert_eq!(changed(&|bytes| bytes[4] = 255), "FormErr", "65281 questions");
    assert_eq!(changed(&|bytes| bytes.truncate(20)), "FormErr", "cut short");
    assert_eq!(changed(&|bytes| *bytes.last_mut().expect("a byte") = 3), "Refused", "another class");
    assert_eq!(
        changed(&|bytes| {
            let end = bytes.len();
            bytes[end - 3] = 252;
        }),
        "Refused",
        "a transfer"
    );
}

proptest! {
    /// Noise, and questions with noise in them: an answer within its bounds, or none.
    #[test]
    fn no_packet_hurts(
        noise in prop::collection::vec(any::<u8>(), 0..600),
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    ) {
        let mut bytes = query("_http._tcp.db.shop.svc.cluster.local.", RecordType::SRV).to_vec().expect("bytes");
        for (place, value) in places {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        let mut headed = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        headed.extend(&noise);
        for packet in [noise, bytes, headed] {
            if let Reply::Send(answer) = respond(&ZONE, &packet, Transport::Udp) {
                prop_assert!((12..=1232).contains(&answer.len()));
                prop_assert_eq!(&answer[..2], &packet[..2]);
            }
        }
    }
}
