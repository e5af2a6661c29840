//! The interfaces: links as the kernel lists them, and what is on those that are asked for.

use std::{collections::HashMap, fs, path::Path};

use anyhow::Context as _;
use futures_util::TryStreamExt as _;
use netlink_packet_route::{
    link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    tc::TcAttribute,
};
use rtnetlink::Handle;

use super::{Unseen, ethtool, netdev};
use crate::{
    bpf::{Survey, other_programs},
    doctor::facts::{Interface, Peer},
    net,
};

/// A link as the kernel lists it.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    up: bool,
    carrier: bool,
    mtu: u32,
    kind: Option<String>,
    master: Option<u32>,
    /// The device that it is on, or the other end, if that is in this namespace.
    on: Option<u32>,
    /// The device behind it: bus and name.
    device: Option<(String, String)>,
}

/// The interfaces that were asked for.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) there: Vec<Interface>,
    pub(super) not_there: Vec<(String, String)>,
}

/// All links in this network namespace.
pub(super) async fn links(netlink: &Handle) -> anyhow::Result<HashMap<u32, Link>> {
    let messages: Vec<LinkMessage> =
        netlink.link().get().execute().try_collect().await.context("cannot list interfaces")?;
    Ok(messages.iter().map(|message| (message.header.index, link(message))).collect())
}

fn link(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        up: message.header.flags.contains(LinkFlags::Up),
        carrier: message.header.flags.contains(LinkFlags::LowerUp),
        ..Link::default()
    };
    let (mut bus, mut device, mut elsewhere) = (None, None, false);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(index) => link.master = Some(*index),
            LinkAttribute::Link(index) => link.on = Some(*index),
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::ParentDevName(name) => device = Some(name.clone()),
            LinkAttribute::ParentDevBusName(name) => bus = Some(name.clone()),
            LinkAttribute::LinkInfo(infos) => {
                link.kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind_name(kind)),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    if elsewhere {
        link.on = None;
    }
    link.device = bus.zip(device);
    link
}

fn kind_name(kind: &InfoKind) -> String {
    kind.to_string()
}

/// Looks at interfaces by their names.
pub(super) async fn look(
    netlink: &Handle,
    names: &[String],
    links: &HashMap<u32, Link>,
    survey: &Survey,
    unseen: &mut Unseen,
) -> Seen {
    let mut seen = Seen::default();
    let mut ethtool = match generic(::ethtool::new_connection()) {
        Ok(handle) => Some(handle),
        Err(reason) => {
            unseen.push(("offloads", reason));
            None
        }
    };
    let mut netdev = generic(genetlink::new_connection()).ok();
    for name in names {
        let found = match net::Interface::look(netlink, name).await {
            Ok(Some(found)) => found,
            Ok(None) => {
                let wrong = "there is no such interface in this network namespace".to_owned();
                seen.not_there.push((name.clone(), wrong));
                continue;
            }
            Err(error) => {
                seen.not_there.push((name.clone(), format!("{error:#}")));
                continue;
            }
        };
        if seen.there.iter().any(|known| known.index == found.index) {
            continue;
        }
        let Some(link) = links.get(&found.index) else { continue };
        let mut interface = described(link, links);
        interface.xdp_in_stack = found.xdp_in_stack;
        (interface.other_xdp, interface.other_tcx) = other_programs(&found, survey);
        interface.filters = filters(netlink, found.index).await;
        if let Some(netdev) = &mut netdev {
            interface.xdp_features = netdev::xdp_features(netdev, found.index).await;
        }
        if let Some(ethtool) = &mut ethtool {
            interface.features = ethtool::features(ethtool, &link.name).await;
            interface.queues = ethtool::queues(ethtool, &link.name).await;
            if let Some(peer) = &mut interface.peer {
                peer.features = ethtool::features(ethtool, &peer.name).await;
            }
        }
        seen.there.push(interface);
    }
    seen
}

/// The handle of a new connection whose work is done by a task.
fn generic<C, H, M>(connection: std::io::Result<(C, H, M)>) -> Result<H, String>
where
    C: Future<Output = ()> + Send + 'static,
{
    let (connection, handle, _) = connection.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    Ok(handle)
}

/// What the list of links says.
fn described(link: &Link, links: &HashMap<u32, Link>) -> Interface {
    let veth = link.kind.as_deref() == Some("veth");
    let master = link.master.and_then(|index| links.get(&index)).map(|master| {
        (master.name.clone(), master.kind.clone().unwrap_or_else(|| "device".to_owned()))
    });
    let peer = link.on.filter(|_| veth).and_then(|index| links.get(&index));
    let on_it =
        |other: &&Link| other.kind.as_deref() == Some("vlan") && other.on == Some(link.index);
    let mut vlans: Vec<String> =
        links.values().filter(on_it).map(|vlan| vlan.name.clone()).collect();
    vlans.sort();
    Interface {
        name: link.name.clone(),
        index: link.index,
        up: link.up,
        carrier: link.carrier,
        mtu: link.mtu,
        kind: link.kind.clone(),
        driver: link.device.as_ref().and_then(|(bus, device)| driver(bus, device)),
        master: master.filter(|(_, kind)| kind == "bond" || kind == "bridge" || kind == "team"),
        peer: peer.map(|peer| Peer { name: peer.name.clone(), ..Peer::default() }),
        vlans,
        ..Interface::default()
    }
}

/// The driver of a device. (`/sys/class/net` is that of the namespace in which `/sys` was mounted.)
fn driver(bus: &str, device: &str) -> Option<String> {
    let link = Path::new("/sys/bus").join(bus).join("devices").join(device).join("driver");
    Some(fs::read_link(link).ok()?.file_name()?.to_str()?.to_owned())
}

/// Filters that run BPF programs at an interface's ingress.
async fn filters(netlink: &Handle, index: u32) -> usize {
    let Ok(index) = i32::try_from(index) else { return 0 };
    let filters = netlink.traffic_filter(index).get().ingress().execute();
    let Ok(filters) = filters.try_collect::<Vec<_>>().await else { return 0 };
    let bpf =
        |attribute: &TcAttribute| matches!(attribute, TcAttribute::Kind(kind) if kind == "bpf");
    // The kernel lists a filter's chain too, without options.
    let is_filter = |attribute: &TcAttribute| matches!(attribute, TcAttribute::Options(_));
    filters
        .iter()
        .filter(|message| {
            message.attributes.iter().any(bpf) && message.attributes.iter().any(is_filter)
        })
        .count()
}
