//! Connecting one pod.

use super::names::{host_mac, pod_link_name, pod_mac};
use super::namespace::{Connection, errno, kernel_error, open_namespace};
use super::node::Links;
use crate::limits::{LINK_POLL, LINK_UP};
use crate::rules::group;
use crate::{Config, NetworkError, sysctl};
use futures::TryStreamExt;
use nix::errno::Errno;
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute, State};
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::{Handle, LinkUnspec, LinkVeth, RouteMessageBuilder};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::path::Path;
use tokio::time::{sleep, timeout};

const POD_LINK: &str = "eth0";
/// Where the host has no link to everywhere to take it from.
const ETHERNET_MTU: u32 = 1500;

impl Links {
    /// Gives the namespace an `eth0` with this address and the way to everywhere; what is as it should be stays.
    pub async fn ensure_pod(
        &self,
        config: &Config,
        gateway: Ipv4Addr,
        namespace: &Path,
        address: Ipv4Addr,
    ) -> Result<(), NetworkError> {
        let name = pod_link_name(&config.id, config.pod_range, address);
        let namespace = open_namespace(namespace)?;
        let inside = Connection::open_in(duplicate(&namespace)?).await?;
        if self.index(&name).await?.is_some() {
            if has_address(&inside.handle, address).await? {
                return Ok(());
            }
            // Left by an attempt that was cut short, or by an earlier sandbox of the same pod.
            self.remove(&name).await?;
        }
        self.add_pair(config, &name, &namespace, address).await?;
        let wired = async {
            self.wire_host(&name, gateway, address).await?;
            wire_pod(&inside.handle, gateway, address).await?;
            self.wait_for_carrier(&name).await
        };
        let done = wired.await;
        if done.is_err() {
            self.remove(&name).await?;
        }
        done
    }

    /// Takes a pod off; no error if it is not there.
    pub async fn remove_pod(&self, config: &Config, address: Ipv4Addr) -> Result<(), NetworkError> {
        self.remove(&pod_link_name(&config.id, config.pod_range, address)).await
    }

    async fn add_pair(
        &self,
        config: &Config,
        name: &str,
        namespace: &File,
        address: Ipv4Addr,
    ) -> Result<(), NetworkError> {
        let mtu = self.uplink_mtu().await?.unwrap_or(ETHERNET_MTU);
        let peer = LinkUnspec::new_with_name(POD_LINK)
            .address(pod_mac(address).to_vec())
            .mtu(mtu)
            .setns_by_fd(namespace.as_raw_fd())
            .build();
        let pair = LinkVeth::new(name, POD_LINK)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .address(host_mac(address).to_vec())
            .mtu(mtu)
            .link_group(group(&config.id))
            .build();
        self.handle().link().add(pair).execute().await.map_err(kernel_error(format!("adding link {name}")))
    }

    /// The host's end: only the pod's own address may come in by it, and the way to the pod goes out by it.
    async fn wire_host(&self, name: &str, gateway: Ipv4Addr, address: Ipv4Addr) -> Result<(), NetworkError> {
        sysctl::set_if_there(&format!("ipv6/conf/{name}/disable_ipv6"), "1")?;
        sysctl::set(&format!("ipv4/conf/{name}/rp_filter"), "1")?;
        sysctl::set(&format!("ipv4/conf/{name}/forwarding"), "1")?;
        // For node ports on 127.0.0.1; the rules' `guard` keeps pods from the host's loopback.
        sysctl::set(&format!("ipv4/conf/{name}/route_localnet"), "1")?;
        let doing = || kernel_error(format!("wiring link {name}"));
        let vanished =
            || NetworkError::Kernel { doing: format!("adding link {name}"), why: "it vanished at once".into() };
        let index = self.index(name).await?.ok_or_else(vanished)?;
        let handle = self.handle();
        handle.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await.map_err(doing())?;
        let neighbour = handle.neighbours().add(index, IpAddr::V4(address)).replace();
        neighbour.link_layer_address(&pod_mac(address)).execute().await.map_err(doing())?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(address, 32)
            .output_interface(index)
            .scope(RouteScope::Link)
            .pref_source(gateway);
        handle.route().add(route.build()).replace().execute().await.map_err(doing())
    }
}

impl Links {
    /// The kernel lets the end that was raised first send only a moment after the second is raised, in work of its own:
    /// until then packets to the pod are lost, and the first connection takes a second.
    async fn wait_for_carrier(&self, name: &str) -> Result<(), NetworkError> {
        let doing = || kernel_error(format!("waiting for link {name}"));
        let is_up = |attribute: &LinkAttribute| *attribute == LinkAttribute::OperState(State::Up);
        let looking = async {
            loop {
                let link = self.handle().link().get().match_name(name).execute().try_next().await.map_err(doing())?;
                if link.is_some_and(|link| link.attributes.iter().any(is_up)) {
                    return Ok(());
                }
                sleep(LINK_POLL).await;
            }
        };
        timeout(LINK_UP, looking).await.unwrap_or_else(|_| {
            Err(NetworkError::Kernel { doing: format!("waiting for link {name}"), why: "it does not come up".into() })
        })
    }
}

/// The pod's end, by a socket in its namespace.
async fn wire_pod(handle: &Handle, gateway: Ipv4Addr, address: Ipv4Addr) -> Result<(), NetworkError> {
    let doing = || kernel_error("configuring the pod's network");
    for name in ["lo", POD_LINK] {
        handle.link().set(LinkUnspec::new_with_name(name).up().build()).execute().await.map_err(doing())?;
    }
    let link = handle.link().get().match_name(POD_LINK).execute().try_next().await.map_err(doing())?;
    let index = link.map(|link| link.header.index).ok_or_else(|| NetworkError::Kernel {
        doing: "configuring the pod's network".into(),
        why: format!("{POD_LINK} vanished"),
    })?;
    handle.address().add(index, IpAddr::V4(address), 32).replace().execute().await.map_err(doing())?;
    let neighbour = handle.neighbours().add(index, IpAddr::V4(gateway)).replace();
    neighbour.link_layer_address(&host_mac(address)).execute().await.map_err(doing())?;
    let to_gateway = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(gateway, 32)
        .output_interface(index)
        .scope(RouteScope::Link)
        .build();
    handle.route().add(to_gateway).replace().execute().await.map_err(doing())?;
    let everywhere = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(index).build();
    handle.route().add(everywhere).replace().execute().await.map_err(doing())
}

/// The last thing that wiring a pod does is its default route, so only with it the pod is wired.
async fn has_address(handle: &Handle, address: Ipv4Addr) -> Result<bool, NetworkError> {
    let doing = || kernel_error("looking at the pod's network");
    let link = match handle.link().get().match_name(POD_LINK).execute().try_next().await {
        Err(error) if errno(&error) == Some(Errno::ENODEV as i32) => return Ok(false),
        link => link.map_err(doing())?,
    };
    let Some(link) = link else { return Ok(false) };
    let addresses = handle.address().get().set_link_index_filter(link.header.index);
    let mut found = addresses.set_address_filter(IpAddr::V4(address)).execute();
    if found.try_next().await.map_err(doing())?.is_none() {
        return Ok(false);
    }
    let all = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let routes: Vec<_> = handle.route().get(all).execute().try_collect().await.map_err(doing())?;
    Ok(routes.iter().any(|route| route.header.destination_prefix_length == 0))
}

fn duplicate(namespace: &File) -> Result<File, NetworkError> {
    namespace
        .try_clone()
        .map_err(|error| NetworkError::Io { doing: "opening the pod's network".into(), why: error.to_string() })
}
