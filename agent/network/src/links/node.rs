//! The node's own link, address and routes, and taking everything down.

use super::names::{bridge_name, is_pod_link};
use super::namespace::{Connection, errno, kernel_error};
use crate::rules::group;
use crate::{Config, NetworkError, sysctl};
use futures::{StreamExt, TryStreamExt};
use ipnet::Ipv4Net;
use nix::errno::Errno;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteScope, RouteType};
use rtnetlink::{Handle, LinkBridge, LinkUnspec, RouteMessageBuilder};
use std::net::{IpAddr, Ipv4Addr};

/// The host's links, through one netlink socket.
pub struct Links {
    connection: Connection,
}

impl Links {
    pub fn open() -> Result<Self, NetworkError> {
        Ok(Self { connection: Connection::open()? })
    }

    pub(super) fn handle(&self) -> Handle {
        self.connection.handle.clone()
    }

    /// Makes the bridge with the gateway's address and the routes of the node's ranges; what is there already stays.
    pub async fn ensure_node(&self, config: &Config, gateway: Ipv4Addr) -> Result<(), NetworkError> {
        let name = bridge_name(&config.id);
        if self.index(&name).await?.is_none() {
            let bridge = LinkBridge::new(&name).link_group(group(&config.id)).up().build();
            self.handle().link().add(bridge).execute().await.map_err(kernel_error(format!("adding link {name}")))?;
        }
        let index = self.index(&name).await?.ok_or_else(|| gone(&name))?;
        sysctl::set_if_there(&format!("ipv6/conf/{name}/disable_ipv6"), "1")?;
        let up = LinkUnspec::new_with_index(index).up().build();
        self.handle().link().set(up).execute().await.map_err(kernel_error(format!("raising link {name}")))?;
        let address = self.handle().address().add(index, IpAddr::V4(gateway), 32).replace();
        address.execute().await.map_err(kernel_error(format!("giving {gateway} to {name}")))?;

        let services = config.service_range;
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(services.network(), services.prefix_len())
            .output_interface(index)
            .scope(RouteScope::Link)
            .pref_source(gateway);
        self.ensure_route(route.build(), services).await?;
        self.ensure_route(unreachable(&config.id, config.pod_range), config.pod_range).await
    }

    async fn ensure_route(&self, route: RouteMessage, to: Ipv4Net) -> Result<(), NetworkError> {
        let add = self.handle().route().add(route).replace();
        add.execute().await.map_err(kernel_error(format!("adding the route to {to}")))
    }

    /// Removes the node's links, and with them their addresses and routes.
    pub async fn remove_node(&self, id: &str) -> Result<(), NetworkError> {
        let bridge = bridge_name(id);
        let ours = |name: &String| *name == bridge || is_pod_link(id, name);
        for (name, index) in self.all().await?.into_iter().filter(|(name, _)| ours(name)) {
            self.remove_index(&name, index).await?;
        }
        self.remove_unreachable(id).await
    }

    /// The route that answers for addresses without a pod hangs on no link that would take it along.
    async fn remove_unreachable(&self, id: &str) -> Result<(), NetworkError> {
        let ours = |route: &RouteMessage| {
            route.header.kind == RouteType::Unreachable
                && route.attributes.contains(&RouteAttribute::Priority(unreachable_metric(id)))
        };
        for route in self.routes().await?.into_iter().filter(ours) {
            let deleted = self.handle().route().del(route).execute().await;
            if let Err(error) = deleted
                && errno(&error) != Some(Errno::ESRCH as i32)
            {
                return Err(kernel_error("removing the route to pods that are not there")(error));
            }
        }
        Ok(())
    }

    async fn routes(&self) -> Result<Vec<RouteMessage>, NetworkError> {
        let all = RouteMessageBuilder::<Ipv4Addr>::new().build();
        self.handle().route().get(all).execute().try_collect().await.map_err(kernel_error("listing routes"))
    }

    /// The largest packet of the link that leads to everywhere, for pods to send no larger; `None` without such a link.
    pub(super) async fn uplink_mtu(&self) -> Result<Option<u32>, NetworkError> {
        let routes = self.routes().await?;
        let uplink = routes.iter().filter(|route| route.header.destination_prefix_length == 0).find_map(|route| {
            route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Oif(index) => Some(*index),
                _ => None,
            })
        });
        let Some(index) = uplink else { return Ok(None) };
        let link = self.handle().link().get().match_index(index).execute().try_next().await;
        let link = link.map_err(kernel_error("looking at the link to everywhere"))?;
        Ok(link.and_then(|link| {
            link.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::Mtu(mtu) => Some(*mtu),
                _ => None,
            })
        }))
    }

    /// Whether a node with this id has links: its pods may still run.
    pub async fn has_node(&self, id: &str) -> Result<bool, NetworkError> {
        Ok(self.index(&bridge_name(id)).await?.is_some())
    }

    /// Removes a link; no error if it is not there.
    pub(super) async fn remove(&self, name: &str) -> Result<(), NetworkError> {
        match self.index(name).await? {
            Some(index) => self.remove_index(name, index).await,
            None => Ok(()),
        }
    }

    async fn remove_index(&self, name: &str, index: u32) -> Result<(), NetworkError> {
        match self.handle().link().del(index).execute().await {
            Err(error) if errno(&error) != Some(Errno::ENODEV as i32) => {
                Err(kernel_error(format!("removing link {name}"))(error))
            }
            _ => Ok(()),
        }
    }

    /// A link's number.
    pub(super) async fn index(&self, name: &str) -> Result<Option<u32>, NetworkError> {
        match self.handle().link().get().match_name(name).execute().try_next().await {
            Ok(link) => Ok(link.map(|link| link.header.index)),
            Err(error) if errno(&error) == Some(Errno::ENODEV as i32) => Ok(None),
            Err(error) => Err(kernel_error(format!("looking for link {name}"))(error)),
        }
    }

    async fn all(&self) -> Result<Vec<(String, u32)>, NetworkError> {
        let links: Vec<_> =
            self.handle().link().get().execute().try_collect().await.map_err(kernel_error("listing links"))?;
        let named = links.into_iter().filter_map(|link| {
            let name = link.attributes.into_iter().find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name),
                _ => None,
            })?;
            Some((name, link.header.index))
        });
        Ok(named.collect())
    }

    /// Ranges that this host has an address in, or a route of its own to.
    pub async fn used_ranges(&self) -> Result<Vec<Ipv4Net>, NetworkError> {
        let mut ranges: Vec<_> = self.routes().await?.iter().filter_map(destination).collect();
        let mut addresses = self.handle().address().get().execute();
        while let Some(address) = addresses.next().await {
            let address = address.map_err(kernel_error("listing addresses"))?;
            let length = address.header.prefix_len;
            ranges.extend(address.attributes.iter().filter_map(|attribute| match attribute {
                AddressAttribute::Address(IpAddr::V4(ip)) => Ipv4Net::new(*ip, length).ok().map(|net| net.trunc()),
                _ => None,
            }));
        }
        ranges.sort();
        ranges.dedup();
        Ok(ranges)
    }
}

/// Where a route leads, unless everywhere.
fn destination(route: &RouteMessage) -> Option<Ipv4Net> {
    let length = route.header.destination_prefix_length;
    let to = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
        _ => None,
    })?;
    Ipv4Net::new(to, length).ok().filter(|net| net.prefix_len() > 0)
}

/// Addresses nobody has are answered for at once.
fn unreachable(id: &str, range: Ipv4Net) -> RouteMessage {
    RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(range.network(), range.prefix_len())
        .kind(RouteType::Unreachable)
        .priority(unreachable_metric(id))
        .build()
}

/// Counts least among routes to the same range, and tells whose it is.
fn unreachable_metric(id: &str) -> u32 {
    group(id) | 1 << 30
}

fn gone(name: &str) -> NetworkError {
    NetworkError::Kernel { doing: format!("adding link {name}"), why: "it vanished at once".into() }
}
