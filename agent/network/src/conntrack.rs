//! Connection tracking remembers where a flow of UDP goes as long as packets keep coming, so a client that never stops
//! would talk to a vanished endpoint for ever. Such flows are forgotten here; TCP connections are left to end by
//! themselves.

use crate::limits;
use crate::{HostPort, NetworkError, Protocol, Service, Services};
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Protocol as TrackedProtocol, Tuple,
};
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::errno::Errno;
use rustix::net::sockopt;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

/// Flows to this front (`None`: any address) that end at this endpoint (`None`: that were not led anywhere).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stale {
    pub address: Option<Ipv4Addr>,
    pub port: u16,
    pub endpoint: Option<(Ipv4Addr, u16)>,
}

/// The flows of UDP that `after` would lead elsewhere than `before` did.
pub fn stale(before: &Services, after: &Services) -> Vec<Stale> {
    let (before, after) = (ways(before), ways(after));
    let gone = before.difference(&after).cloned();
    // A node's port that nobody answered until now may have been tracked as going to the node itself.
    let fronts: BTreeSet<_> = before.iter().map(|way| (way.address, way.port)).collect();
    let opened = after.iter().filter(|way| !fronts.contains(&(way.address, way.port)));
    let opened = opened.map(|way| Stale { endpoint: None, ..way.clone() });
    gone.chain(opened).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The flows of UDP to host ports that a pod gets, which went to the host itself until now.
pub fn before_host_ports(ports: &[HostPort]) -> Vec<Stale> {
    host_port_flows(ports, |_| None)
}

/// The flows of UDP to host ports that a pod had.
pub fn after_host_ports(pod: Ipv4Addr, ports: &[HostPort]) -> Vec<Stale> {
    host_port_flows(ports, |port| Some((pod, port.pod_port)))
}

fn host_port_flows(ports: &[HostPort], endpoint: impl Fn(&HostPort) -> Option<(Ipv4Addr, u16)>) -> Vec<Stale> {
    let udp = ports.iter().filter(|port| port.protocol == Protocol::Udp);
    let flow = |port: &HostPort| Stale {
        address: port.host_ip.filter(|address| !address.is_unspecified()),
        port: port.host_port,
        endpoint: endpoint(port),
    };
    udp.map(flow).collect()
}

fn ways(services: &Services) -> BTreeSet<Stale> {
    services.0.iter().flat_map(service_ways).collect()
}

fn service_ways(service: &Service) -> impl Iterator<Item = Stale> {
    let addresses = || service.cluster_ips.iter().chain(&service.external_ips).copied();
    service.ports.iter().filter(|port| port.protocol == Protocol::Udp).flat_map(move |port| {
        let by_address = addresses().map(|address| (Some(address), port.port));
        let fronts: Vec<_> = by_address.chain(port.node_port.map(|number| (None, number))).collect();
        port.endpoints.iter().flat_map(move |endpoint| {
            let endpoint = Some((endpoint.address, endpoint.port));
            fronts.clone().into_iter().map(move |(address, port)| Stale { address, port, endpoint })
        })
    })
}

/// Makes the kernel forget those flows.
pub fn forget(stale: &[Stale]) -> Result<(), NetworkError> {
    if stale.is_empty() {
        return Ok(());
    }
    let io = |error: io::Error| NetworkError::Io {
        doing: "forgetting connections to vanished endpoints".into(),
        why: error.to_string(),
    };
    let socket = open().map_err(io)?;
    for original in matching(&socket, stale).map_err(io)? {
        let message = ConntrackMessage::Delete(vec![ConntrackAttribute::CtaTupleOrig(original)]);
        send(&socket, message, NLM_F_REQUEST | NLM_F_ACK).map_err(io)?;
        let (datagram, _) = socket.recv_from_full().map_err(io)?;
        let answer = NetlinkMessage::<NetfilterMessage>::deserialize(&datagram);
        if let Ok(NetlinkMessage { payload: NetlinkPayload::Error(error), .. }) = answer {
            // It may have ended by itself meanwhile.
            if error.code.is_some() && -error.raw_code() != Errno::ENOENT as i32 {
                return Err(io(error.to_io()));
            }
        }
    }
    Ok(())
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(limits::NETLINK_TIMEOUT))?;
    Ok(socket)
}

fn send(socket: &Socket, message: ConntrackMessage, flags: u16) -> io::Result<()> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let inner = NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::IPv4, 0, 0), message);
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(inner));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0).map(drop)
}

/// The original tuples of all tracked flows that are stale.
fn matching(socket: &Socket, stale: &[Stale]) -> io::Result<Vec<Vec<Tuple>>> {
    send(socket, ConntrackMessage::Get(Vec::new()), NLM_F_REQUEST | NLM_F_DUMP)?;
    let mut found = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<NetfilterMessage>::deserialize(rest).map_err(io::Error::other)?;
            let length = (message.header.length as usize).next_multiple_of(4).clamp(16, rest.len());
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(found),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(NetfilterMessage {
                    inner: NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)),
                    ..
                }) => found.extend(stale_original(attributes, stale)),
                _ => {}
            }
            rest = &rest[length..];
        }
    }
}

/// The flow's original direction, if the flow is one of the stale ones.
fn stale_original(attributes: Vec<ConntrackAttribute>, stale: &[Stale]) -> Option<Vec<Tuple>> {
    let (mut original, mut reply) = (None, None);
    for attribute in attributes {
        match attribute {
            ConntrackAttribute::CtaTupleOrig(tuple) => original = Some(tuple),
            ConntrackAttribute::CtaTupleReply(tuple) => reply = Some(tuple),
            _ => {}
        }
    }
    let original = original?;
    let front = Ends::of(&original).filter(|ends| ends.protocol == TrackedProtocol::Udp)?.destination?;
    let end = Ends::of(&reply?)?.source?;
    let is_stale = |one: &Stale| {
        one.port == front.1
            && one.address.is_none_or(|address| address == front.0)
            && one.endpoint.unwrap_or(front) == end
    };
    stale.iter().any(is_stale).then_some(original)
}

struct Ends {
    protocol: TrackedProtocol,
    source: Option<(Ipv4Addr, u16)>,
    destination: Option<(Ipv4Addr, u16)>,
}

impl Ends {
    fn of(tuple: &[Tuple]) -> Option<Self> {
        let (mut protocol, mut addresses, mut ports) = (None, [None; 2], [None; 2]);
        for part in tuple {
            match part {
                Tuple::Ip(parts) => parts.iter().for_each(|part| match part {
                    IPTuple::SourceAddress(IpAddr::V4(address)) => addresses[0] = Some(*address),
                    IPTuple::DestinationAddress(IpAddr::V4(address)) => addresses[1] = Some(*address),
                    _ => {}
                }),
                Tuple::Proto(parts) => parts.iter().for_each(|part| match part {
                    ProtoTuple::Protocol(number) => protocol = Some(*number),
                    ProtoTuple::SourcePort(port) => ports[0] = Some(*port),
                    ProtoTuple::DestinationPort(port) => ports[1] = Some(*port),
                    _ => {}
                }),
                _ => {}
            }
        }
        let end = |index: usize| Some((addresses[index]?, ports[index]?));
        Some(Self { protocol: protocol?, source: end(0), destination: end(1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Endpoint, ServicePort};

    fn dns(endpoints: &[u8], node_port: Option<u16>) -> Services {
        let endpoint = |last: &u8| Endpoint { address: Ipv4Addr::new(10, 42, 0, *last), port: 5353, local: true };
        let port = |protocol| ServicePort {
            protocol,
            port: 53,
            node_port,
            endpoints: endpoints.iter().map(endpoint).collect(),
            ..ServicePort::default()
        };
        Services(vec![Service {
            cluster_ips: vec![Ipv4Addr::new(10, 43, 0, 9)],
            ports: vec![port(Protocol::Udp), port(Protocol::Tcp)],
            ..Service::default()
        }])
    }

    #[test]
    fn only_flows_that_must_go_elsewhere_are_stale() {
        let front = |address, port, endpoint| Stale { address, port, endpoint };
        let service = Some(Ipv4Addr::new(10, 43, 0, 9));
        let second = Some((Ipv4Addr::new(10, 42, 0, 3), 5353));
        assert_eq!(stale(&dns(&[2, 3], None), &dns(&[2, 3], None)), []);
        assert_eq!(stale(&dns(&[2], None), &dns(&[2, 3], None)), []);
        assert_eq!(stale(&dns(&[2, 3], None), &dns(&[2], None)), [front(service, 53, second)]);
        assert_eq!(
            stale(&dns(&[3], Some(30053)), &Services::default()),
            [front(None, 30053, second), front(service, 53, second)]
        );
        // The first endpoint of a node port.
        assert_eq!(stale(&dns(&[2], None), &dns(&[2], Some(30053))), [front(None, 30053, None)]);
    }
}
