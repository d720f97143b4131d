//! The packet rules as text, for each feature of a service; and that any set of services can follow any other.

mod model;

use coracle_network::rules::{HostPortBinding, Ruleset, State, render};
use coracle_network::{Config, Endpoint, HostPort, Protocol, Service, ServicePort, Services};
use std::net::Ipv4Addr;

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

pub fn rules(services: Vec<Service>, host_ports: &[HostPortBinding]) -> Ruleset {
    let (config, services) = (config(), Services(services));
    render(State { config: &config, services: &services, host_ports, comment: "a comment" })
}

fn endpoint(last: u8, local: bool) -> Endpoint {
    let third = u8::from(!local);
    Endpoint { address: Ipv4Addr::new(10, 42, third, last), port: 8080, local }
}

fn web(endpoints: Vec<Endpoint>) -> Service {
    let port = ServicePort { name: "http".into(), port: 80, endpoints, ..ServicePort::default() };
    Service {
        namespace: "shop".into(),
        name: "web".into(),
        cluster_ips: vec![Ipv4Addr::new(10, 43, 0, 1)],
        ports: vec![port],
        ..Service::default()
    }
}

/// What a service adds to a table without any: the lines that only the one with it has.
fn added(services: Vec<Service>, host_ports: &[HostPortBinding]) -> String {
    let empty = rules(Vec::new(), &[]).to_string();
    let full = rules(services, host_ports).to_string();
    let mut before: Vec<&str> = empty.lines().collect();
    let new =
        full.lines().filter(|line| line.trim() != "}").filter(|line| match before.iter().position(|old| old == line) {
            Some(index) => {
                before.remove(index);
                false
            }
            None => true,
        });
    new.map(|line| line.replace('\t', "  ")).collect::<Vec<_>>().join("\n")
}

#[test]
fn without_services() {
    insta::assert_snapshot!(rules(Vec::new(), &[]).to_string().replace('\t', "  "));
}

#[test]
fn a_cluster_ip_with_two_endpoints() {
    insta::assert_snapshot!(added(vec![web(vec![endpoint(3, true), endpoint(2, true)])], &[]));
}

#[test]
fn the_order_of_endpoints_does_not_matter() {
    let one = rules(vec![web(vec![endpoint(2, true), endpoint(3, true)])], &[]);
    let other = rules(vec![web(vec![endpoint(3, true), endpoint(2, true), endpoint(3, true)])], &[]);
    assert_eq!(one, other);
}

#[test]
fn a_node_port_and_an_external_address() {
    let mut service = web(vec![endpoint(2, true), endpoint(9, false)]);
    service.ports[0].node_port = Some(30080);
    service.external_ips = vec![Ipv4Addr::new(198, 51, 100, 7)];
    insta::assert_snapshot!(added(vec![service], &[]));
}

#[test]
fn external_traffic_policy_local() {
    let mut service = web(vec![endpoint(2, true), endpoint(9, false)]);
    service.ports[0].node_port = Some(30080);
    service.external_local = true;
    insta::assert_snapshot!(added(vec![service], &[]));
}

#[test]
fn internal_traffic_policy_local() {
    let mut service = web(vec![endpoint(2, true), endpoint(9, false)]);
    service.internal_local = true;
    service.ports[0].node_port = Some(30080);
    insta::assert_snapshot!(added(vec![service], &[]));
}

#[test]
fn session_affinity() {
    let service = Service { affinity_seconds: Some(10_800), ..web(vec![endpoint(2, true), endpoint(3, true)]) };
    insta::assert_snapshot!(added(vec![service], &[]));
}

#[test]
fn without_endpoints_it_is_refused() {
    let mut service = web(Vec::new());
    service.ports[0].node_port = Some(30080);
    service.external_ips = vec![Ipv4Addr::new(198, 51, 100, 7)];
    insta::assert_snapshot!(added(vec![service], &[]));
}

#[test]
fn a_headless_service_has_no_rules() {
    let service = Service { cluster_ips: Vec::new(), ..web(vec![endpoint(2, true)]) };
    assert_eq!(rules(vec![service], &[]), rules(Vec::new(), &[]));
}

#[test]
fn host_ports_come_before_node_ports() {
    let port = |host_port, host_ip| HostPort { protocol: Protocol::Tcp, host_ip, host_port, pod_port: 80 };
    let pod = Ipv4Addr::new(10, 42, 0, 5);
    let bindings = [
        HostPortBinding { pod, port: port(30080, None) },
        HostPortBinding { pod, port: port(81, Some(Ipv4Addr::new(192, 0, 2, 1))) },
        HostPortBinding { pod, port: port(82, Some(Ipv4Addr::UNSPECIFIED)) },
    ];
    let mut service = web(vec![endpoint(2, true)]);
    service.ports[0].node_port = Some(30080);
    insta::assert_snapshot!(added(vec![service], &bindings));
}

#[test]
fn endpoints_that_lead_to_the_node_itself_are_left_out() {
    let hostile = [[127, 0, 0, 1], [0, 0, 0, 0], [169, 254, 169, 254], [224, 0, 0, 1]];
    let at = |address: [u8; 4]| Endpoint { address: address.into(), ..endpoint(2, true) };
    assert_eq!(rules(vec![web(hostile.map(at).to_vec())], &[]), rules(vec![web(Vec::new())], &[]));
}

/// Of two services that claim one address, the first has it; DNS has its own whoever claims it.
#[test]
fn an_address_has_one_owner() {
    let first = web(vec![endpoint(2, true)]);
    let second = Service { name: "thief".into(), ..web(vec![endpoint(3, true)]) };
    let mut dns =
        Service { name: "dns".into(), cluster_ips: vec![Ipv4Addr::new(10, 43, 0, 10)], ..web(vec![endpoint(4, true)]) };
    dns.ports[0].port = 53;
    let text = rules(vec![first, second, dns], &[]).to_string();
    assert!(text.contains("10.43.0.1 . tcp . 80 : goto service/shop/web/tcp/80"));
    assert!(text.contains("10.43.0.10 . tcp . 53 : goto dns"));
}
